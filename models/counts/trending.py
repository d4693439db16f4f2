"""What trends in each segment among one shard's items: decayed popularity, above k distinct users."""

import struct
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.counts.item_statistics import MAX_AHEAD
from models.counts.pairs import EVENT, NO_SEGMENT, PAIR, ShardBatch
from models.counts.withdrawing import withdraw_trends
from models.items.wire import TrendingRow
from models.numeric.arrays import Floats, Int64s
from models.numeric.kernels import inline, kernel

N_ENTRIES = 256
"""Items that are counted for a segment."""
N_PUBLISHED = 100
"""Items that are published: the heaviest of those."""
MAX_SEGMENTS = 64
"""Segments that are kept; the one that weighs least, decayed, makes room: so whoever invents contexts pushes out what
others invented, and not where people are."""

N_USERS = 8
"""Newest users of an entry that are remembered at least: as long as one is, only their heaviest act counts."""

FORMAT = 2
_HEADER = struct.Struct("<BxHIQqq")
_SEGMENT = struct.Struct("<Hqq?I")

ENTRY = np.dtype([("item", "i8"), ("weight", "f4"), ("inherited", "f4"), ("n_users", "i4")])


@dataclass(slots=True)
class _Segment:
    name: str
    version: int
    last_at: int
    entries: NDArray[np.void]
    """(N_ENTRIES,) ENTRY; the used ones come first."""
    users: Int64s
    """(N_ENTRIES, U) hashes of the newest users of each entry, a ring; U is k, and `N_USERS` at least."""
    counted: Floats
    """(N_ENTRIES, U) what each of them has added to the entry's weight."""
    n: int = 0
    changed: bool = True

    @property
    def weight(self) -> float:
        """Of all its entries, in landmark units."""
        return float(self.entries["weight"][: self.n].sum())


class TrendCounts:
    """Decayed popularity by segment, bounded in segments, items and users.

    A user counts for an item with the heaviest of their acts, decayed, and not with their sum: however often one person
    buys it, it does not trend by that. Only who acts after eight others (or k) may count again.

    Weights are forward-decayed and items compete for the entries as in `models.counts.neighbours`.

    Parameters
    ----------
    min_users : an item is published for a segment only once so many distinct users of the segment have acted on it.
    first_version : as of `item_statistics.ItemStatistics`.
    """

    def __init__(self, half_life_ms: int, min_users: int, first_version: int = 0) -> None:
        self._half_life_ms = half_life_ms
        self._min_users = min_users
        self.first_version = first_version
        self.landmark_at = 0
        self._segments: dict[str, _Segment] = {}

    @property
    def _n_slots(self) -> int:
        return max(self._min_users, N_USERS)

    @property
    def changed(self) -> bool:
        """Whether a segment has changed since it was published."""
        return any(segment.changed for segment in self._segments.values())

    def learn(self, batch: ShardBatch) -> list[str]:
        """Add what users did.

        Returns
        -------
        Names of segments that were given up to make room.
        """
        if not len(batch.events):
            return []
        self._move_on(batch.reference_at)
        dropped: list[str] = []
        for index in np.unique(batch.segments).tolist():
            if index == NO_SEGMENT:
                continue
            segment = self._segment(batch.segment_names[index], dropped)
            events = batch.events[(batch.segments == index).any(axis=1)]
            segment.n = _add(
                events, self.landmark_at, self._half_life_ms, segment.entries, segment.users, segment.counted, segment.n
            )
            segment.version += len(events)
            segment.last_at = max(segment.last_at, int(events["at"].max()))
            segment.changed = True
        return dropped

    def withdraw(self, batch: ShardBatch) -> list[str]:
        """Take back what an erased user did, and do not count the user any more.

        Of an item's users only the newest are known, so one that loses some may wait for others before it is published
        again.

        Returns
        -------
        Names of segments in which nothing is left.
        """
        indices = {name: index for index, name in enumerate(batch.segment_names)}
        gone, empty = np.array(batch.withdrawn, np.int64), []
        for segment in list(self._segments.values()):
            index, n = indices.get(segment.name, NO_SEGMENT), segment.n
            events = batch.events[(batch.segments == index).any(axis=1)] if index >= 0 else batch.events[:0]
            segment.n, n_changed = withdraw_trends(
                gone, events, self.landmark_at, self._half_life_ms, segment.entries, segment.users, segment.counted, n
            )
            if n_changed:
                segment.version += n_changed
                segment.changed = True
            if n and not segment.n:
                self.first_version = max(self.first_version, segment.version + 1)
                empty.append(segment.name)
                del self._segments[segment.name]
        return empty

    def take_changed(self, shard: int = 0) -> list[TrendingRow]:
        """Take the changed rows, of a shard of this number; they count as published."""
        changed = [segment for segment in self._segments.values() if segment.changed]
        for segment in changed:
            segment.changed = False
        return [self._published(segment, shard) for segment in changed]

    def _published(self, segment: _Segment, shard: int) -> TrendingRow:
        entries = segment.entries[: segment.n]
        entries = entries[(entries["n_users"] >= self._min_users) & (entries["weight"] > 0)]
        best = entries[np.lexsort((entries["item"], -entries["weight"]))[:N_PUBLISHED]]
        age = min((self.landmark_at - segment.last_at) / self._half_life_ms, 1_000)
        return TrendingRow(
            segment.name,
            shard,
            segment.version,
            segment.last_at,
            best["item"].copy(),
            # In double precision, and bounded: the way back from a far landmark must not lead to infinity.
            np.minimum(best["weight"] * np.float64(2.0**age), np.finfo(np.float32).max).astype(np.float32),
        )

    def _segment(self, name: str, dropped: list[str]) -> _Segment:
        segment = self._segments.get(name)
        if segment is None:
            if len(self._segments) == MAX_SEGMENTS:
                least = min(self._segments.values(), key=lambda kept: (kept.weight, kept.last_at, kept.name))
                self.first_version = max(self.first_version, least.version + 1)
                dropped.append(least.name)
                del self._segments[least.name]
            entries = np.zeros(N_ENTRIES, ENTRY)
            users = np.zeros((N_ENTRIES, self._n_slots), np.int64)
            counted = np.zeros(users.shape, np.float32)
            segment = self._segments[name] = _Segment(name, self.first_version, 0, entries, users, counted)
        return segment

    def _move_on(self, at: int) -> None:
        """Move the landmark before a weight can overflow."""
        if not self.landmark_at:
            self.landmark_at = at
        if at - self.landmark_at > MAX_AHEAD * self._half_life_ms:
            self._rebase(at)

    def _rebase(self, at: int) -> None:
        factor = np.float32(2.0 ** ((self.landmark_at - at) / self._half_life_ms))
        for segment in self._segments.values():
            segment.entries["weight"] *= factor
            segment.entries["inherited"] *= factor
            segment.counted *= factor
        self.landmark_at = at

    def pack(self) -> bytes:
        """Pack into bytes: 20 an entry and 12 a user that is kept."""
        parts = [
            _HEADER.pack(
                FORMAT, len(self._segments), self._n_slots, self._half_life_ms, self.first_version,
                self.landmark_at,
            )
        ]  # fmt: skip
        for segment in self._segments.values():
            name = segment.name.encode()
            parts += (
                _SEGMENT.pack(len(name), segment.version, segment.last_at, segment.changed, segment.n),
                name,
                segment.entries[: segment.n].tobytes(),
                segment.users[: segment.n].tobytes(),
                segment.counted[: segment.n].tobytes(),
            )
        return b"".join(parts)

    @classmethod
    def unpack(cls, packed: bytes, half_life_ms: int, min_users: int) -> Self:
        """Restore what `pack` returned; the configuration may have changed since.

        After `min_users` was raised, users beyond the old number have to act again to be counted. Format 1 kept the
        first users of an entry, and not what they had added: each may count once more.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n_segments, n_slots, packed_half_life_ms, first_version, landmark_at = _HEADER.unpack_from(packed)
        if version not in {1, FORMAT}:
            raise ValueError(f"trending of format {version}: this release reads formats 1 and {FORMAT}")
        trending = cls(packed_half_life_ms, min_users, first_version)
        trending.landmark_at = landmark_at
        offset = _HEADER.size
        for _ in range(n_segments):
            n_name, row_version, last_at, changed, n = _SEGMENT.unpack_from(packed, offset)
            offset += _SEGMENT.size
            segment = trending._segment(packed[offset : offset + n_name].decode(), [])
            offset += n_name
            segment.version, segment.last_at, segment.changed, segment.n = row_version, last_at, changed, n
            segment.entries[:n] = np.frombuffer(packed, ENTRY, n, offset)
            offset += n * ENTRY.itemsize
            offset += trending._restore_users(segment, packed, offset, n_slots, has_counted=version > 1)
        if half_life_ms != packed_half_life_ms:
            newest_at = max((segment.last_at for segment in trending._segments.values()), default=landmark_at)
            trending._rebase(max(newest_at, landmark_at))
        trending._half_life_ms = half_life_ms
        return trending

    def _restore_users(self, segment: _Segment, packed: bytes, offset: int, n_slots: int, *, has_counted: bool) -> int:
        """Read an entry's users, packed in so many slots each; returns how many bytes that were."""
        n, n_kept = segment.n, min(n_slots, self._n_slots)
        users = np.frombuffer(packed, np.int64, n * n_slots, offset).reshape(n, n_slots)
        segment.users[:n, :n_kept] = users[:, :n_kept]
        if has_counted:
            counted = np.frombuffer(packed, np.float32, n * n_slots, offset + users.nbytes).reshape(n, n_slots)
            segment.counted[:n, :n_kept] = counted[:, :n_kept]
        if n_slots != self._n_slots:
            segment.entries["n_users"] = np.minimum(segment.entries["n_users"], n_kept)
        return users.nbytes + (4 * n * n_slots if has_counted else 0)


@kernel
def _add(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    landmark_at: int,
    half_life_ms: int,
    entries: NDArray[np.void],  # (N,) ENTRY, written
    users: Int64s,  # (N, U) written
    counted: Floats,  # (N, U) written
    n: int,
) -> int:
    """Add events of one segment, of which n entries are used; say how many are used now."""
    for e in range(len(events)):
        event = events[e]
        p = 0
        lightest = 0
        least = np.float32(np.inf)
        while p < n and entries[p]["item"] != event["item"]:
            weight = entries[p]["weight"] + entries[p]["inherited"]
            if weight < least:
                lightest = p
                least = weight
            p += 1
        if p == n:
            inherited = np.float32(0)
            if n < len(entries):
                n += 1
            else:
                p = lightest
                inherited = least
            entries[p]["item"] = event["item"]
            entries[p]["weight"] = 0
            entries[p]["inherited"] = inherited
            entries[p]["n_users"] = 0
        weight = np.float32(event["weight"] * np.exp2((event["at"] - landmark_at) / half_life_ms))
        slot = _find_user(users[p], entries[p]["n_users"], event["user"])
        if slot < 0:
            slot = entries[p]["n_users"] % users.shape[1]
            entries[p]["n_users"] = _one_more(entries[p]["n_users"], users.shape[1])
            users[p, slot] = event["user"]
            counted[p, slot] = 0
        if weight > counted[p, slot]:
            entries[p]["weight"] += weight - counted[p, slot]
            counted[p, slot] = weight
    return n


@inline
def _find_user(users: Int64s, n: int, user: int) -> int:
    """Find a user among the n newest ones, as many as the (U,) ring holds; -1 where it is none of them."""
    for u in range(min(n, len(users))):
        if users[u] == user:
            return u
    return -1


@inline
def _one_more(n: int, size: int) -> int:
    """Count one more user of a ring: n % size is where the next one goes; a full ring counts from size to 2 size."""
    return n + 1 if n + 1 < 2 * size else size


def warm_up() -> None:
    """Compile the kernel, so that no batch waits for it."""
    trending = TrendCounts(1, 1)
    trending.learn(ShardBatch(0, 1, np.ones(1, EVENT), ("",), ("all",), np.zeros((1, 1), np.int32), np.empty(0, PAIR)))
