"""The step that keeps the item tables, a shard a key, and publishes the rows that have changed."""

import struct
from collections.abc import Callable, Iterable
from datetime import datetime

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.records import Outgoing
from dataflows.run.settings import LearnSettings
from dataflows.steps.shards import first_version, next_turn, outgoing, tombstone
from models.counts.item_statistics import ItemStatistics
from models.counts.pairs import ShardBatch
from models.counts.trending import TrendCounts
from models.items.wire import neighbours_key, trending_key

_HEADER = struct.Struct("<qq")


class LearnItemsLogic(StatefulBatchLogic[ShardBatch, Outgoing, bytes]):
    """One shard.

    Which rows wait to be published is part of the state, so a resumed shard publishes them, at once. At the
    end of its input it publishes all that wait: rows are absolute, nothing is closed by it.
    """

    def __init__(self, packed: bytes | None, config: LearnSettings, clock: Callable[[], datetime]) -> None:
        self._config = config
        self._clock = clock
        self._publish_at: datetime | None = None
        half_lives_ms = config.half_life_short_ms, config.half_life_long_ms
        if packed is None:
            self._shard = 0
            first = first_version(clock())
            self._items = ItemStatistics(*half_lives_ms, first, config.max_items_of_shard)
            self._trending = TrendCounts(config.half_life_short_ms, config.min_users, first)
        else:
            self._shard, n_items = _HEADER.unpack_from(packed)
            body = packed[_HEADER.size :]
            self._items = ItemStatistics.unpack(body[:n_items], *half_lives_ms, config.max_items_of_shard)
            self._trending = TrendCounts.unpack(body[n_items:], config.half_life_short_ms, config.min_users)
            if self._has_changes:
                self._publish_at = clock()

    @property
    def _has_changes(self) -> bool:
        return self._items.n_dirty > 0 or self._trending.changed

    def on_batch(self, values: list[ShardBatch]) -> tuple[Iterable[Outgoing], bool]:
        """Learn; publish later, but at once that something was given up."""
        gone: list[Outgoing] = []
        for batch in values:
            self._shard = batch.shard
            items, trending = self._items, self._trending
            taken = batch.withdrawn
            forgotten = items.withdraw(batch) if taken else items.learn(batch)
            emptied = trending.withdraw(batch) if taken else trending.learn(batch)
            gone += (tombstone(neighbours_key(item_id)) for item_id in forgotten)
            gone += (tombstone(trending_key(name, self._shard)) for name in emptied)
        if self._publish_at is None:
            self._publish_at = self._next_turn()
        return gone, self.RETAIN

    def on_notify(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish what has changed, as much as may go at a time."""
        rows = self._publish(self._config.max_rows_per_publish)
        self._publish_at = self._next_turn() if self._has_changes else None
        return rows, self.RETAIN

    def on_eof(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish all that has changed."""
        self._publish_at = None
        return self._publish(self._items.n), self.RETAIN

    def notify_at(self) -> datetime | None:
        """Return when to publish next."""
        return self._publish_at

    def snapshot(self) -> bytes:
        """Pack the whole shard."""
        items = self._items.pack()
        return b"".join((_HEADER.pack(self._shard, len(items)), items, self._trending.pack()))

    def _next_turn(self) -> datetime:
        return next_turn(self._clock(), self._shard, self._config.shards, self._config.publish_every_s)

    def _publish(self, limit: int) -> list[Outgoing]:
        rows = [outgoing(row) for row in self._items.take_changed(limit)]
        rows += (outgoing(row) for row in self._trending.take_changed(self._shard))
        return rows


def learn_items(
    step_id: str, batches: KeyedStream[ShardBatch], config: LearnSettings, clock: Callable[[], datetime]
) -> KeyedStream[Outgoing]:
    """Learn the item tables from what was added up.

    Parameters
    ----------
    clock : aware, as the engine's notifications are.
    """
    rows = op.stateful_batch(step_id, batches, lambda packed: LearnItemsLogic(packed, config, clock))
    return op.map(f"{step_id}_rows", rows, lambda keyed: (keyed[1].key, keyed[1]))
