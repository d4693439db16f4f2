"""The newest session of each user, as it is published for session kNN.

A session's number is the user's hash modulo the number of places. So rows need no state, come out the same whatever
the batches, the workers and the crashes, and are bounded: of two users who share a number, the one who acted last has
it. Versions follow event time.
"""

import struct
from collections.abc import Iterable
from typing import Self

import numpy as np

from models.counts.transitions import Contribution
from models.items.sessions import LENGTH
from models.items.wire import MAX_SESSIONS, SessionRow

FORMAT = 2
"""Snapshots of format 1 hold eleven items of a session."""
_HEADER = struct.Struct("<BxxxI")
_OLD_LENGTH = 11


def _row(length: int) -> np.dtype[np.void]:
    """Lay out a row of so many items."""
    fields = [(name, "<i8") for name in ("number", "version", "last_at", "user", "n")]
    return np.dtype([*fields, ("items", "<i8", length)])


_ROWS = {1: _row(_OLD_LENGTH), FORMAT: _row(LENGTH)}


def session_row(contribution: Contribution, n_places: int) -> SessionRow:
    """Say what an event makes of its user's newest session.

    A version is the event's time and, so that events of one moment follow each other, the session's length.
    """
    items = (contribution.item, *contribution.previous, *contribution.further_back)[:LENGTH][::-1]
    return SessionRow(
        contribution.user % n_places,
        32 * contribution.at + len(items),
        contribution.at,
        contribution.user,
        items,
    )


class NewestSessions:
    """Rows that wait to be published, the newest of each number.

    Parameters
    ----------
    n_places : sessions kept at most.

    Raises
    ------
    ValueError : fewer than one place, or more than a table takes.
    """

    def __init__(self, n_places: int) -> None:
        if not 1 <= n_places <= MAX_SESSIONS:
            raise ValueError(f"{n_places} places for sessions: it takes 1 to {MAX_SESSIONS}")
        self._n_places = n_places
        self._waiting: dict[int, SessionRow] = {}

    @property
    def changed(self) -> bool:
        """Whether a row waits."""
        return bool(self._waiting)

    def learn(self, contributions: Iterable[Contribution]) -> None:
        """Add events."""
        for contribution in contributions:
            row = session_row(contribution, self._n_places)
            waiting = self._waiting.get(row.number)
            if waiting is None or row.version > waiting.version:
                self._waiting[row.number] = row

    def withdraw(self, users: Iterable[int]) -> list[int]:
        """Forget users; return the places at which a session of theirs may have been published."""
        gone = set(users)
        self._waiting = {number: row for number, row in self._waiting.items() if row.user not in gone}
        return sorted({user % self._n_places for user in gone})

    def take_changed(self) -> list[SessionRow]:
        """Take the rows, by number; they count as sent."""
        rows = sorted(self._waiting.values())
        self._waiting = {}
        return rows

    def pack(self) -> bytes:
        """Pack into bytes: 256 a row that waits."""
        packed = np.zeros(len(self._waiting), _ROWS[FORMAT])
        for row, record in zip(self._waiting.values(), packed, strict=True):
            record["number"], record["version"], record["last_at"], record["user"] = row[:4]
            record["n"] = len(row.items)
            record["items"][: len(row.items)] = row.items
        return _HEADER.pack(FORMAT, len(packed)) + packed.tobytes()

    @classmethod
    def unpack(cls, packed: bytes, n_places: int) -> Self:
        """Restore what `pack` returned; rows of another number of places are dropped, for those users act again.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n = _HEADER.unpack_from(packed)
        if version not in _ROWS:
            raise ValueError(f"sessions of format {version}: this release reads up to format {FORMAT}")
        sessions = cls(n_places)
        rows = np.frombuffer(packed, _ROWS[version], n, _HEADER.size)
        for number, row_version, last_at, user, length, items in rows.tolist():
            if number == user % n_places:
                sessions._waiting[number] = SessionRow(number, row_version, last_at, user, tuple(items[:length]))
        return sessions
