"""The most recent sessions of one shard of the users: what is published for session kNN.

Sessions take numbers in a ring: a new one takes the number of the one that began longest ago. So topic, table and
state are bounded, and nobody has to decide what to forget.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from models.arrays import Int64s
from models.items.sessions import LENGTH, MAX_SESSIONS
from models.learning.transitions import Contribution

FORMAT = 1
_HEADER = struct.Struct("<BxxxIIIQ")
_SESSION = np.dtype(
    [
        ("version", "<i8"),
        ("user", "<i8"),
        ("last_at", "<i8"),
        ("n", "<i4"),
        ("changed", "<i4"),
        ("items", "<i8", LENGTH),
    ]
)


@dataclass(frozen=True, slots=True)
class SessionsConfig:
    """How many sessions are kept."""

    n_shards: int = 64
    n_per_shard: int = 1_024

    def __post_init__(self) -> None:
        if self.n_shards * self.n_per_shard > MAX_SESSIONS:
            raise ValueError(f"{self.n_shards} shards of {self.n_per_shard} sessions: at most {MAX_SESSIONS} in all")


class SessionRow(NamedTuple):
    """What is published of one session."""

    number: int
    version: int
    last_at: int
    user: int
    """Its hash."""
    items: Int64s
    """(n,) hashes, oldest first, n at most 11."""


class Sessions:
    """One shard's ring.

    Parameters
    ----------
    shard : of the users, by their hash.
    first_version : of the first row published; above all of an earlier life of this shard.
    """

    def __init__(self, shard: int, config: SessionsConfig, first_version: int = 1) -> None:
        self._shard = shard
        self._config = config
        self._ring = np.zeros(config.n_per_shard, _SESSION)
        self._next = 0
        self._version = first_version
        self._running: dict[int, int] = {}
        """User to the place of their newest session."""

    @property
    def changed(self) -> bool:
        """Whether a row waits to be published."""
        return bool(self._ring["changed"].any())

    def learn(self, contributions: Iterable[Contribution]) -> None:
        """Add events, each with the items of its session before it.

        An event goes on with its user's newest session if that ends with the item before it, and begins a new one
        otherwise.
        """
        for contribution in contributions:
            previous = contribution.previous
            place = self._running.get(contribution.user, -1)
            if place < 0 or not previous or self._last_item(place) != previous[0]:
                place = self._begin(contribution.user)
            session = self._ring[place]
            items = (contribution.item, *previous)[:LENGTH][::-1]
            session["items"][: len(items)] = items
            session["n"] = len(items)
            session["last_at"] = max(int(session["last_at"]), contribution.at)
            session["version"] = self._version
            session["changed"] = 1
            self._version += 1

    def take_changed(self) -> list[SessionRow]:
        """Take the changed rows; they count as sent."""
        places = np.flatnonzero(self._ring["changed"])
        self._ring["changed"][places] = 0
        return [
            SessionRow(
                place * self._config.n_shards + self._shard,
                int(session["version"]),
                int(session["last_at"]),
                int(session["user"]),
                session["items"][: session["n"]].copy(),
            )
            for place, session in zip(places.tolist(), self._ring[places], strict=True)
        ]

    def _last_item(self, place: int) -> int:
        session = self._ring[place]
        return int(session["items"][session["n"] - 1])

    def _begin(self, user: int) -> int:
        """Give the user the next number of the ring."""
        place = self._next
        self._next = (place + 1) % len(self._ring)
        before = int(self._ring[place]["user"])
        if self._running.get(before) == place:
            del self._running[before]
        self._ring[place] = np.zeros((), _SESSION)
        self._ring[place]["user"] = user
        self._running[user] = place
        return place

    def pack(self) -> bytes:
        """Pack into bytes: 120 a session."""
        used = self._ring[self._ring["n"] > 0]
        header = _HEADER.pack(FORMAT, self._shard, len(self._ring), self._next, self._version)
        return header + np.flatnonzero(self._ring["n"] > 0).astype("<u4").tobytes() + used.tobytes()

    @classmethod
    def unpack(cls, packed: bytes, config: SessionsConfig) -> Self:
        """Restore what `pack` returned; with another number of sessions a shard, the ring begins anew.

        Raises
        ------
        ValueError
            When the bytes are of a newer format.
        """
        version, shard, size, following, first_version = _HEADER.unpack_from(packed)
        if version != FORMAT:
            raise ValueError(f"sessions of format {version}: this release reads format {FORMAT}")
        sessions = cls(shard, config, first_version)
        if size != config.n_per_shard:
            return sessions
        n = (len(packed) - _HEADER.size) // (4 + _SESSION.itemsize)
        places = np.frombuffer(packed, "<u4", n, _HEADER.size)
        sessions._next = following
        sessions._ring[places] = np.frombuffer(packed, _SESSION, n, _HEADER.size + 4 * n)
        # A user's newest session is the one with the highest version.
        for place in places[np.argsort(sessions._ring["version"][places])].tolist():
            sessions._running[int(sessions._ring[place]["user"])] = place
        return sessions
