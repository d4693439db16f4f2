"""What was learned from events about one shard of items: popularity, and what comes before and after."""

import struct
from typing import Self

import numpy as np

from models.counts.neighbours import (
    ITEM,
    NEIGHBOUR,
    BestNeighbours,
    ShardArrays,
    choose_best,
    learn_batch,
    rescale,
)
from models.counts.pairs import EVENT, PAIR, ShardBatch
from models.counts.withdrawing import withdraw_batch
from models.items.wire import NeighboursRow
from models.numeric.arrays import Bools, Int64s
from models.numeric.decay import Landmark
from models.numeric.hashmap import slots_for
from models.numeric.ids import hash_all

MAX_AHEAD = 60
"""Short half-lives that events may run ahead of the landmark before it moves on; float32 overflows at 127."""
N_COUNTED = 64
"""Neighbours that are counted for an item."""
N_PUBLISHED = 50
"""Neighbours that are published: the best of those."""
FORGET_BELOW = 2.0**-10
"""An item whose popularity at the long half-life has come to this is forgotten: a view ten half-lives ago."""

KEPT_OF_FULL = 7 / 8
"""Of a shard that is full, the share of items that stays: so that it is not full again with the next one."""

MIN_CAPACITY = 16

FORMAT = 1
_HEADER = struct.Struct("<BxxxIQQqqqqq")


class ItemStatistics:
    """One shard of the item tables, as arrays that grow by doubling.

    The order of events does not matter, up to rounding, as long as no item has more than `N_COUNTED`
    neighbours. A row's version is how often something was added to it, on top of `first_version`: so it does
    not depend on how events fall into batches, and two histories of the same events end with the same version
    and the same row.

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
        n, shard = self.n, self._shard
        n_now = learn_batch(
            batch.events, batch.pairs, scale, self.first_version, n, new, *self._landmark,
            shard.slots, shard.hashes, shard.items, shard.neighbours, shard.dirty,
        )  # fmt: skip
        self.ids += [batch.item_ids[event] for event in new[: n_now - n].tolist()]
        return forgotten + self._give_up_beyond(self._max_items)

    def withdraw(self, batch: ShardBatch) -> list[str]:
        """Take back what a batch taught.

        Returns
        -------
        The ids of items that are forgotten: nobody but the batch's user had touched them.
        """
        shard = self._shard
        if len(batch.events) or len(batch.pairs):
            scale = 2.0 ** ((batch.reference_at - self.landmark_at) / self._half_life_long_ms)
            withdraw_batch(
                batch.events, batch.pairs, scale, self.n, *self._landmark,
                shard.slots, shard.hashes, shard.items, shard.neighbours, shard.dirty,
            )  # fmt: skip
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
        return self._published(rows)

    def _published(self, rows: Int64s) -> list[NeighboursRow]:
        best = BestNeighbours.empty(len(rows), N_PUBLISHED)
        choose_best(rows, self._landmark, self._shard, best)
        items = self._shard.items[rows]
        age = (self.landmark_at - items["last_at"]).astype(np.float64)
        # The bound keeps what has decayed to nothing from becoming nothing times infinity.
        short = items["short"] * np.exp2(np.minimum(age / self._half_life_short_ms, 1_000))
        long = items["long"] * np.exp2(np.minimum(age / self._half_life_long_ms, 1_000))
        return [
            NeighboursRow(
                self.ids[row], version, last_at, first_seen_at, popularity,
                best.items[r, :n], best.rules[r, :n], best.covisits[r, :n],
            )
            for r, (row, version, last_at, first_seen_at, popularity, n) in enumerate(
                zip(
                    rows.tolist(),
                    items["version"].tolist(),
                    items["last_at"].tolist(),
                    items["first_seen_at"].tolist(),
                    zip(short.tolist(), long.tolist(), strict=True),
                    best.n.tolist(),
                    strict=True,
                )
            )
        ]  # fmt: skip

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
        n = self.n
        rescale(
            self._shard.items[:n],
            self._shard.neighbours[:n],
            2.0 ** (age / self._half_life_short_ms),
            2.0 ** (age / self._half_life_long_ms),
        )
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
        for name in ("hashes", "items", "neighbours", "dirty"):
            getattr(new, name)[:n] = getattr(old, name)[rows]
        self._shard = new._replace(slots=slots_for(new.hashes[:n], len(new.items)))

    def pack(self) -> bytes:
        """Pack into bytes: about 50 an item and 20 a neighbour."""
        n = self.n
        items = self._shard.items[:n]
        used = np.arange(N_COUNTED) < items["n_neighbours"][:, None]
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
                self._shard.dirty[:n].tobytes(),
                self._shard.neighbours[:n][used].tobytes(),
            )
        )  # fmt: skip

    @classmethod
    def unpack(cls, packed: bytes, half_life_short_ms: int, half_life_long_ms: int, max_items: int = 1 << 31) -> Self:
        """Restore what `pack` returned; the half-lives may have changed since: they hold for what comes.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n, n_used, short_ms, long_ms, first_version, landmark_at, swept_at, cursor = _HEADER.unpack_from(
            packed
        )
        if version != FORMAT:
            raise ValueError(f"item statistics of format {version}: this release reads format {FORMAT}")
        statistics = cls(short_ms, long_ms, first_version, max_items)
        statistics.landmark_at, statistics._swept_at, statistics._cursor = landmark_at, swept_at, cursor
        offset = _HEADER.size + 2 * n
        for length in np.frombuffer(packed, np.uint16, n, _HEADER.size).tolist():
            statistics.ids.append(packed[offset : offset + length].decode())
            offset += length
        shard = _empty(max(n, MIN_CAPACITY))
        items = shard.items[:n]
        items[:] = np.frombuffer(packed, ITEM, n, offset)
        offset += n * ITEM.itemsize
        shard.dirty[:n] = np.frombuffer(packed, np.bool_, n, offset)
        used = np.arange(N_COUNTED) < items["n_neighbours"][:, None]
        shard.neighbours[:n][used] = np.frombuffer(packed, NEIGHBOUR, n_used, offset + n)
        shard.hashes[:n] = hash_all(statistics.ids)
        if n > max_items * KEPT_OF_FULL:
            # After this snapshot some may have been given up, whose rows are gone: all are published again.
            shard.dirty[:n] = True
        statistics._shard = shard._replace(slots=slots_for(shard.hashes[:n], len(shard.items)))
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
        np.zeros((capacity, N_COUNTED), NEIGHBOUR),
        np.zeros(capacity, np.bool_),
    )


def warm_up() -> None:
    """Compile the kernels, so that no batch waits for it."""
    events, pairs = np.ones(1, EVENT), np.ones(1, PAIR)
    statistics = ItemStatistics(1, 1)
    statistics.learn(ShardBatch(0, 1, events, ("",), (), np.empty((1, 0), np.int32), pairs))
    statistics.take_changed(1)
    statistics.move_landmark(2)
    statistics.withdraw(ShardBatch(0, 1, events, ("",), (), np.empty((1, 0), np.int32), pairs, (1,)))
