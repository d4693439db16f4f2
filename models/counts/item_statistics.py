"""What was learned from events about one shard of items: popularity, and what comes before and after."""

import struct
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.counts.cells import NEIGHBOUR, Cells
from models.counts.neighbours import ITEM, ShardArrays, add_pairs, learn_batch
from models.counts.pairs import EVENT, PAIR, ShardBatch
from models.counts.publishing import publish
from models.counts.withdrawing import withdraw_events, withdraw_pairs
from models.items.wire import NeighboursRow
from models.numeric.arrays import Bools, Int64s
from models.numeric.decay import Landmark
from models.numeric.hashmap import slots_for
from models.numeric.ids import hash_all

MAX_AHEAD = 60
"""Short half-lives that events may run ahead of the landmark before it moves on; float32 overflows at 127."""
CELLS_AN_ITEM = 32
"""Cells of either kind on average, where items are as many as may be: who needs few leaves them to who needs many."""
FORGET_BELOW = 2.0**-10
"""An item whose popularity at the long half-life has come to this is forgotten: a view ten half-lives ago."""

KEPT_OF_FULL = 7 / 8
"""Of a shard that is full, the share of items that stays: so that it is not full again with the next one."""

MIN_CAPACITY = 16

FORMAT = 2
"""Snapshots of format 1 hold what came in one session alone, at most 64 neighbours an item."""
_ITEM_1 = np.dtype([*((name, ITEM[name]) for name in ITEM.names or ()), ("n_neighbours", "i4")])
_HEADER = struct.Struct("<BxxxIQQqqqqq")


class ItemStatistics:
    """One shard of the item tables, as arrays that grow by doubling.

    Neighbours of a session and habits, which came in different sessions, are counted apart. The order of events does
    not matter, up to rounding, as long as no item has to give a neighbour's cell to another. A row's version is how
    often something was added to it, on top of `first_version`: so it does not depend on how events fall into batches,
    and two histories of the same events end with the same version and the same row.

    Parameters
    ----------
    first_version : where new rows start. Chosen higher than any row that an earlier, lost state has published, it
        lets the table start over: consumers would take its rows for old ones otherwise.
    max_items : beyond it, those that weigh least are given up: whoever invents items fills no memory.
    """

    def __init__(
        self, half_life_short_ms: int, half_life_long_ms: int, first_version: int = 0, max_items: int = 1 << 31
    ) -> None:
        self._half_life_short_ms = half_life_short_ms
        self._half_life_long_ms = half_life_long_ms
        self.first_version = first_version
        self._max_items = max_items
        self.landmark_at = 0
        """The moment that all weights refer to; 0 before the first event."""
        self._swept_at = 0
        self._cursor = 0
        self.ids: list[str] = []
        self._shard = _empty(MIN_CAPACITY)
        self._neighbours, self._habits = (Cells(MIN_CAPACITY, max_items * CELLS_AN_ITEM) for _ in range(2))

    @property
    def n(self) -> int:
        """Items known."""
        return len(self.ids)

    @property
    def n_dirty(self) -> int:
        """Items that have changed since they were published."""
        return int(np.count_nonzero(self._shard.dirty[: self.n]))

    def learn(self, batch: ShardBatch) -> list[str]:
        """Add what a batch teaches.

        Returns
        -------
        The ids of items that were forgotten on the occasion: nobody has touched them for long, or there are too many.
        """
        forgotten = self._move_on(batch.reference_at)
        self._reserve(self.n + len(batch.events))
        new = np.empty(len(batch.events), np.int32)
        scale = 2.0 ** ((batch.reference_at - self.landmark_at) / self._half_life_long_ms)
        n, shard, neighbours = self.n, self._shard, self._neighbours
        n_now, done = learn_batch(
            batch.events, batch.pairs, scale, neighbours.most_room, self.first_version, n, new, self._landmark, shard,
            neighbours.arrays,
        )  # fmt: skip
        self.ids += [batch.item_ids[event] for event in new[: n_now - n].tolist()]
        self._add_pairs(neighbours, batch.pairs, done, scale)
        self._add_pairs(self._habits, batch.habits, 0, scale)
        return forgotten + self._give_up_beyond(self._max_items)

    def _add_pairs(self, cells: Cells, pairs: NDArray[np.void], done: int, scale: float) -> None:
        """Add the pairs from `done` on, laying out the cells again as often as their array is full."""
        while done < len(pairs):
            done = add_pairs(pairs, done, scale, cells.most_room, self._shard, cells.arrays)
            if done < len(pairs):
                cells.keep(np.arange(self.n), len(self._shard.items))

    def withdraw(self, batch: ShardBatch) -> list[str]:
        """Take back what a batch taught.

        Returns
        -------
        The ids of items that are forgotten: nobody but the batch's user had touched them.
        """
        shard = self._shard
        if len(batch.events):
            withdraw_events(batch.events, self.n, self._landmark, shard)
        scale = 2.0 ** ((batch.reference_at - self.landmark_at) / self._half_life_long_ms)
        for pairs, cells in ((batch.pairs, self._neighbours), (batch.habits, self._habits)):
            if len(pairs):
                withdraw_pairs(pairs, scale, self.n, shard, cells.arrays)
        return self._drop_unless(shard.items[: self.n]["long"] > 0)

    @property
    def _landmark(self) -> Landmark:
        return Landmark(self.landmark_at, self._half_life_short_ms, self._half_life_long_ms)

    def take_changed(self, limit: int) -> list[NeighboursRow]:
        """Take at most `limit` changed rows, in turn, so that none waits for ever; they count as sent."""
        changed = np.flatnonzero(self._shard.dirty[: self.n])
        first = int(np.searchsorted(changed, self._cursor))
        rows = np.concatenate((changed[first:], changed[:first]))[:limit]
        if not len(rows):
            return []
        self._cursor = int(rows[-1]) + 1
        self._shard.dirty[rows] = False
        neighbours, habits = self._neighbours.arrays, self._habits.arrays
        return publish(rows, self.ids, self._landmark, self._shard.items, neighbours, habits)

    def _move_on(self, at: int) -> list[str]:
        """Move the landmark before a weight can overflow; from time to time look for items to forget."""
        if not self.landmark_at:
            self.landmark_at = self._swept_at = at
        if at - self.landmark_at > MAX_AHEAD * self._half_life_short_ms:
            self.move_landmark(at)
        if at - self._swept_at <= self._half_life_long_ms:
            return []
        self._swept_at = at
        return self._forget(at)

    def move_landmark(self, at: int) -> None:
        """Let all weights refer to `at`; nothing else changes."""
        age = self.landmark_at - at
        short = np.float32(2.0 ** (age / self._half_life_short_ms))
        long = np.float32(2.0 ** (age / self._half_life_long_ms))
        items = self._shard.items[: self.n]
        items["short"] *= short
        items["long"] *= long
        for cells in (self._neighbours.arrays.cells, self._habits.arrays.cells):
            for weight in ("rule", "covisit", "inherited"):
                cells[weight] *= long
        self.landmark_at = at

    def _forget(self, at: int) -> list[str]:
        least = FORGET_BELOW * 2.0 ** ((at - self.landmark_at) / self._half_life_long_ms)
        return self._drop_unless(self._shard.items[: self.n]["long"] >= least)

    def _give_up_beyond(self, n: int) -> list[str]:
        """Where there are more than `n` items, give up those of least weight at the long half-life."""
        if self.n <= n:
            return []
        kept = np.ones(self.n, np.bool_)
        lightest_first = np.argsort(self._shard.items["long"][: self.n], kind="stable")
        kept[lightest_first[: self.n - max(1, int(n * KEPT_OF_FULL))]] = False
        return self._drop_unless(kept)

    def _drop_unless(self, kept: Bools) -> list[str]:
        items = self._shard.items[: self.n]
        if kept.all():
            return []
        # Should one come back, its version has to rise above that of the row which was published before.
        self.first_version = max(self.first_version, int(items["version"][~kept].max()) + 1)
        forgotten = [item_id for item_id, stays in zip(self.ids, kept.tolist(), strict=True) if not stays]
        rows = np.flatnonzero(kept)
        self.ids = [self.ids[row] for row in rows.tolist()]
        self._keep(rows, MIN_CAPACITY)
        return forgotten

    def _reserve(self, n: int) -> None:
        capacity = len(self._shard.items)
        if n > capacity:
            while capacity < n:
                capacity *= 2
            self._keep(np.arange(self.n), capacity)

    def _keep(self, rows: Int64s, capacity: int) -> None:
        """Move some rows to new arrays, in their order, and let go of the others."""
        n, old, new = len(rows), self._shard, _empty(max(capacity, len(rows)))
        for name in ("hashes", "items", "dirty"):
            getattr(new, name)[:n] = getattr(old, name)[rows]
        self._shard = new._replace(slots=slots_for(new.hashes[:n], len(new.items)))
        for cells in (self._neighbours, self._habits):
            cells.keep(rows, len(new.items))

    def pack(self) -> bytes:
        """Pack into bytes: about 60 an item and 20 a neighbour."""
        n = self.n
        kinds = self._neighbours, self._habits
        neighbours = [cells.neighbours(n) for cells in kinds]
        ids = [item_id.encode() for item_id in self.ids]
        return b"".join(
            (
                _HEADER.pack(
                    FORMAT, n, sum(map(len, neighbours)), self._half_life_short_ms, self._half_life_long_ms,
                    self.first_version, self.landmark_at, self._swept_at, self._cursor,
                ),
                np.fromiter(map(len, ids), np.uint16, n).tobytes(),
                b"".join(ids),
                self._shard.items[:n].tobytes(),
                self._shard.dirty[:n].tobytes(),
                *(cells.arrays.sizes[:n].tobytes() for cells in kinds),
                *(held.tobytes() for held in neighbours),
            )
        )  # fmt: skip

    @classmethod
    def unpack(cls, packed: bytes, half_life_short_ms: int, half_life_long_ms: int, max_items: int = 1 << 31) -> Self:
        """Restore what `pack` returned; the half-lives may have changed since: they hold for what comes.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n, _, short_ms, long_ms, first_version, landmark_at, swept_at, cursor = _HEADER.unpack_from(packed)
        if version not in {1, FORMAT}:
            raise ValueError(f"item statistics of format {version}: this release reads formats 1 and {FORMAT}")
        statistics = cls(short_ms, long_ms, first_version, max_items)
        statistics.landmark_at, statistics._swept_at, statistics._cursor = landmark_at, swept_at, cursor
        offset = _HEADER.size + 2 * n
        for length in np.frombuffer(packed, np.uint16, n, _HEADER.size).tolist():
            statistics.ids.append(packed[offset : offset + length].decode())
            offset += length
        shard = _empty(max(n, MIN_CAPACITY))
        items = shard.items[:n]
        dtype = _ITEM_1 if version == 1 else ITEM
        packed_items = np.frombuffer(packed, dtype, n, offset)
        for name in ITEM.names or ():
            items[name] = packed_items[name]
        offset += n * dtype.itemsize
        shard.dirty[:n] = np.frombuffer(packed, np.bool_, n, offset)
        offset += n
        if version == 1:
            sizes = [packed_items["n_neighbours"]]
        else:
            sizes = list(np.frombuffer(packed, np.int32, 2 * n, offset).reshape(2, n))
            offset += 8 * n
        shard.hashes[:n] = hash_all(statistics.ids)
        if n > max_items * KEPT_OF_FULL:
            # After this snapshot some may have been given up, whose rows are gone: all are published again.
            shard.dirty[:n] = True
        statistics._shard = shard._replace(slots=slots_for(shard.hashes[:n], len(shard.items)))
        for cells in (statistics._neighbours, statistics._habits):
            cells.keep(np.empty(0, np.int64), len(shard.items))
        for cells, of_items in zip((statistics._neighbours, statistics._habits), sizes, strict=False):
            neighbours = np.frombuffer(packed, NEIGHBOUR, int(of_items.sum()), offset)
            offset += neighbours.nbytes
            cells.restore(neighbours, of_items)
        if (half_life_short_ms, half_life_long_ms) != (short_ms, long_ms):
            statistics.move_landmark(int(items["last_at"].max(initial=landmark_at)))
            statistics._half_life_short_ms, statistics._half_life_long_ms = half_life_short_ms, half_life_long_ms
        return statistics


def _empty(capacity: int) -> ShardArrays:
    """Make room for so many rows."""
    hashes = np.zeros(capacity, np.int64)
    return ShardArrays(
        slots_for(hashes[:0], capacity),
        hashes,
        np.zeros(capacity, ITEM),
        np.zeros(capacity, np.bool_),
    )


def warm_up() -> None:
    """Compile the kernels, so that no batch waits for it."""
    events, pairs = np.ones(1, EVENT), np.ones(1, PAIR)
    statistics = ItemStatistics(1, 1)
    batch = ShardBatch(0, 1, events, ("",), (), np.empty((1, 0), np.int32), pairs, pairs)
    statistics.learn(batch)
    statistics.take_changed(1)
    ItemStatistics.unpack(statistics.pack(), 1, 1)
    statistics.withdraw(batch._replace(withdrawn=(1,)))
