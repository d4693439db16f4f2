"""What was learned from events about one shard of items: popularity, and what comes before and after."""

import struct
from typing import NamedTuple, Self

import numpy as np

from models.counts.batches import EVENT, PAIR, ShardBatch
from models.counts.item_kernels import (
    ITEM,
    MAX_HALF_LIVES,
    NEIGHBOUR,
    add_events,
    add_pairs,
    best_neighbours,
    rescale,
)
from models.numeric.arrays import Floats, Int64s
from models.numeric.hashmap import places_for
from models.numeric.ids import hash_all

N_SLOTS = 64
"""Neighbours that are counted for an item."""
N_PUBLISHED = 50
"""Neighbours that are published: the best of those."""
FORGET_BELOW = 2.0**-10
"""An item whose popularity at the long half-life has come to this is forgotten: a view ten half-lives ago."""

FORMAT = 1
_HEADER = struct.Struct("<BxxxIQQqqqqq")


class ItemRow(NamedTuple):
    """What is published of one item; weights are decayed to `reference_at`."""

    item_id: str
    version: int
    reference_at: int
    """Time of the newest event that changed the row."""
    first_seen_at: int
    popularity: tuple[float, float]
    """At the short and at the long half-life."""
    neighbours: Int64s
    """(n,) hashes, the heaviest first, n at most `N_PUBLISHED`."""
    rules: Floats
    """(n,)"""
    covisits: Floats
    """(n,)"""


class ItemStatistics:
    """One shard of the item tables, as arrays that grow by doubling.

    The order of events does not matter, up to rounding, as long as no item has more than `N_SLOTS`
    neighbours. A row's version is how often something was added to it, on top of `first_version`: so it does
    not depend on how events fall into batches, and two histories of the same events end with the same version
    and the same row.

    Parameters
    ----------
    half_life_short_ms, half_life_long_ms : how fast trends, and popularity and what follows an item, fade.
    first_version : where new rows start. Given anew, higher than any row that an earlier and lost state has
    published, it lets
        the table start over: consumers would take its rows for old ones otherwise.
    """

    def __init__(self, half_life_short_ms: int, half_life_long_ms: int, first_version: int = 0) -> None:
        self._half_life_short_ms = half_life_short_ms
        self._half_life_long_ms = half_life_long_ms
        self.first_version = first_version
        self.landmark_at = 0
        """The moment that all weights refer to; 0 before the first event."""
        self._swept_at = 0
        self._cursor = 0
        self.ids: list[str] = []
        self._allocate(16)

    def _allocate(self, capacity: int) -> None:
        self._hashes = np.zeros(capacity, np.int64)
        self._items = np.zeros(capacity, ITEM)
        self._neighbours = np.zeros((capacity, N_SLOTS), NEIGHBOUR)
        self._dirty = np.zeros(capacity, np.bool_)
        self._places = places_for(self._hashes[:0], capacity)

    @property
    def n(self) -> int:
        """Items known."""
        return len(self.ids)

    @property
    def n_dirty(self) -> int:
        """Items that have changed since they were published."""
        return int(np.count_nonzero(self._dirty[: self.n]))

    def learn(self, batch: ShardBatch) -> list[str]:
        """Add what a batch teaches.

        Returns
        -------
        The ids of items that were forgotten on the occasion: nobody has touched them for long.
        """
        forgotten = self._move_on(batch.reference_at)
        self._reserve(self.n + len(batch.events))
        new = np.empty(len(batch.events), np.int32)
        n = self.n
        n_now = add_events(
            batch.events, self.landmark_at, self._half_life_short_ms, self._half_life_long_ms,
            self.first_version, self._places, self._hashes, self._items, self._dirty, n, new,
        )  # fmt: skip
        self.ids += [batch.item_ids[event] for event in new[: n_now - n].tolist()]
        scale = 2.0 ** ((batch.reference_at - self.landmark_at) / self._half_life_long_ms)
        add_pairs(batch.pairs, scale, self._places, self._hashes, self._items, self._neighbours, self._dirty)
        return forgotten

    def take_changed(self, limit: int) -> list[ItemRow]:
        """Take at most `limit` changed rows, in turn, so that none waits for ever; they count as sent."""
        changed = np.flatnonzero(self._dirty[: self.n])
        first = int(np.searchsorted(changed, self._cursor))
        rows = np.concatenate((changed[first:], changed[:first]))[:limit]
        if not len(rows):
            return []
        self._cursor = int(rows[-1]) + 1
        self._dirty[rows] = False
        return self._published(rows)

    def _published(self, rows: Int64s) -> list[ItemRow]:
        shape = (len(rows), N_PUBLISHED)
        neighbours, counts = np.empty(shape, np.int64), np.empty(len(rows), np.int32)
        rules, covisits = np.empty(shape, np.float32), np.empty(shape, np.float32)
        best_neighbours(
            rows, self._items, self._neighbours, self.landmark_at, self._half_life_long_ms,
            neighbours, rules, covisits, counts,
        )  # fmt: skip
        items = self._items[rows]
        age = (self.landmark_at - items["last_at"]).astype(np.float64)
        # The bound keeps what has decayed to nothing from becoming nothing times infinity.
        short = items["short"] * np.exp2(np.minimum(age / self._half_life_short_ms, 1_000))
        long = items["long"] * np.exp2(np.minimum(age / self._half_life_long_ms, 1_000))
        return [
            ItemRow(
                self.ids[row], version, last_at, first_seen_at, popularity,
                neighbours[r, :n], rules[r, :n], covisits[r, :n],
            )
            for r, (row, version, last_at, first_seen_at, popularity, n) in enumerate(
                zip(
                    rows.tolist(),
                    items["version"].tolist(),
                    items["last_at"].tolist(),
                    items["first_seen_at"].tolist(),
                    zip(short.tolist(), long.tolist(), strict=True),
                    counts.tolist(),
                    strict=True,
                )
            )
        ]  # fmt: skip

    def _move_on(self, at: int) -> list[str]:
        """Move the landmark before a weight can overflow; from time to time look for items to forget."""
        if not self.landmark_at:
            self.landmark_at = self._swept_at = at
        if at - self.landmark_at > MAX_HALF_LIVES * self._half_life_short_ms:
            self.move_landmark(at)
        if at - self._swept_at <= self._half_life_long_ms:
            return []
        self._swept_at = at
        return self._forget(at)

    def move_landmark(self, at: int) -> None:
        """Let all weights refer to `at`; nothing else changes."""
        age = self.landmark_at - at
        n = self.n
        rescale(
            self._items[:n],
            self._neighbours[:n],
            2.0 ** (age / self._half_life_short_ms),
            2.0 ** (age / self._half_life_long_ms),
        )
        self.landmark_at = at

    def _forget(self, at: int) -> list[str]:
        least = FORGET_BELOW * 2.0 ** ((at - self.landmark_at) / self._half_life_long_ms)
        items = self._items[: self.n]
        kept = items["long"] >= least
        if kept.all():
            return []
        # Should one come back, its version has to rise above that of the row which was published before.
        self.first_version = max(self.first_version, int(items["version"][~kept].max()) + 1)
        forgotten = [item_id for item_id, stays in zip(self.ids, kept.tolist(), strict=True) if not stays]
        rows = np.flatnonzero(kept)
        self.ids = [self.ids[row] for row in rows.tolist()]
        self._keep(rows, 16)
        return forgotten

    def _reserve(self, n: int) -> None:
        capacity = len(self._items)
        if n > capacity:
            while capacity < n:
                capacity *= 2
            self._keep(np.arange(self.n), capacity)

    def _keep(self, rows: Int64s, capacity: int) -> None:
        """Move some rows to new arrays, in their order, and let go of the others."""
        n = len(rows)
        before = self._hashes, self._items, self._neighbours, self._dirty
        self._allocate(max(capacity, n))
        after = self._hashes, self._items, self._neighbours, self._dirty
        for new, old in zip(after, before, strict=True):
            new[:n] = old[rows]
        self._places = places_for(self._hashes[:n], len(self._items))

    def pack(self) -> bytes:
        """Pack into bytes: about 50 an item and 20 a neighbour."""
        n = self.n
        items = self._items[:n]
        used = np.arange(N_SLOTS) < items["n_neighbours"][:, None]
        ids = [item_id.encode() for item_id in self.ids]
        return b"".join(
            (
                _HEADER.pack(
                    FORMAT, n, int(used.sum()), self._half_life_short_ms, self._half_life_long_ms,
                    self.first_version, self.landmark_at, self._swept_at, self._cursor,
                ),
                np.fromiter(map(len, ids), np.uint16, n).tobytes(),
                b"".join(ids),
                items.tobytes(),
                self._dirty[:n].tobytes(),
                self._neighbours[:n][used].tobytes(),
            )
        )  # fmt: skip

    @classmethod
    def unpack(cls, packed: bytes, half_life_short_ms: int, half_life_long_ms: int) -> Self:
        """Restore what `pack` returned; the half-lives may have changed since: they hold for what comes.

        Raises
        ------
        ValueError
            When the bytes are of a newer format.
        """
        version, n, n_used, short_ms, long_ms, first_version, landmark_at, swept_at, cursor = _HEADER.unpack_from(
            packed
        )
        if version != FORMAT:
            raise ValueError(f"item statistics of format {version}: this release reads format {FORMAT}")
        statistics = cls(short_ms, long_ms, first_version)
        statistics.landmark_at, statistics._swept_at, statistics._cursor = landmark_at, swept_at, cursor
        statistics._allocate(max(n, 16))
        place = _HEADER.size + 2 * n
        for length in np.frombuffer(packed, np.uint16, n, _HEADER.size).tolist():
            statistics.ids.append(packed[place : place + length].decode())
            place += length
        items = statistics._items[:n]
        items[:] = np.frombuffer(packed, ITEM, n, place)
        place += n * ITEM.itemsize
        statistics._dirty[:n] = np.frombuffer(packed, np.bool_, n, place)
        used = np.arange(N_SLOTS) < items["n_neighbours"][:, None]
        statistics._neighbours[:n][used] = np.frombuffer(packed, NEIGHBOUR, n_used, place + n)
        statistics._hashes[:n] = hash_all(statistics.ids)
        statistics._places = places_for(statistics._hashes[:n], len(statistics._items))
        if (half_life_short_ms, half_life_long_ms) != (short_ms, long_ms):
            statistics.move_landmark(int(items["last_at"].max(initial=landmark_at)))
            statistics._half_life_short_ms, statistics._half_life_long_ms = half_life_short_ms, half_life_long_ms
        return statistics


def warm_up() -> None:
    """Compile the kernels, so that no batch waits for it."""
    events, pairs = np.ones(1, EVENT), np.ones(1, PAIR)
    statistics = ItemStatistics(1, 1)
    statistics.learn(ShardBatch(0, 1, events, ("",), (), np.empty((1, 0), np.int32), pairs))
    statistics.take_changed(1)
    statistics.move_landmark(2)
