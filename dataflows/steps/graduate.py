"""The steps that count how often items were shown, a shard of items a key, and publish which have graduated."""

from collections import defaultdict
from collections.abc import Iterable

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.records import Outgoing
from dataflows.run.settings import LearnSettings
from dataflows.steps.attribute import AttributionInput
from dataflows.steps.shards import outgoing, shard_key, tombstone
from models.counts.impressions import Impressions, ItemShown
from models.items.wire import graduated_key
from models.messages import Event
from models.numeric.ids import hash_all
from models.online.outcome import ShownSlate

ImpressionBatch = tuple[ItemShown, ...]


def shown_on_slates(step_id: str, slates: KeyedStream[AttributionInput], n_shards: int) -> KeyedStream[ImpressionBatch]:
    """Take what slates hold for shown, sorted by shard."""

    def mapper(keyed: list[tuple[str, AttributionInput]]) -> list[tuple[str, ImpressionBatch]]:
        slates = (slate for _, slate in keyed if isinstance(slate, ShownSlate) and slate.consent)
        return _by_shard(
            [ItemShown(item.item_id, slate.created_at) for slate in slates for item in slate.items], n_shards
        )

    return op.flat_map_batch(step_id, slates, mapper)


def shown_by_events(step_id: str, events: Stream[Event], n_shards: int) -> KeyedStream[ImpressionBatch]:
    """Take what `impression` events say for shown, sorted by shard."""

    def mapper(events: list[Event]) -> list[tuple[str, ImpressionBatch]]:
        shown = (event for event in events if event.event_type == "impression" and event.consent)
        return _by_shard([ItemShown(event.item_id, event.timestamp) for event in shown], n_shards)

    return op.flat_map_batch(step_id, events, mapper)


def _by_shard(shown: list[ItemShown], n_shards: int) -> list[tuple[str, ImpressionBatch]]:
    shards: defaultdict[int, list[ItemShown]] = defaultdict(list)
    hashes = hash_all([impression.item_id for impression in shown])
    for shard, impression in zip((hashes % n_shards).tolist(), shown, strict=True):
        shards[shard].append(impression)
    return [(shard_key(shard), tuple(impressions)) for shard, impressions in shards.items()]


class GraduateLogic(StatefulBatchLogic[ImpressionBatch, Outgoing, bytes]):
    """One shard."""

    def __init__(self, packed: bytes | None, config: LearnSettings) -> None:
        enough, most = config.graduates_after, config.max_items_of_shard
        self._impressions = Impressions.unpack(packed, enough, most) if packed else Impressions(enough, most)

    def on_batch(self, values: list[ImpressionBatch]) -> tuple[Iterable[Outgoing], bool]:
        """Count, and publish at once who has graduated: until that is known, an item is shown as a cold one."""
        graduated, forgotten = self._impressions.count(shown for batch in values for shown in batch)
        gone = [tombstone(graduated_key(item_id)) for item_id in forgotten]
        return [*gone, *(outgoing(row) for row in graduated)], self.RETAIN

    def snapshot(self) -> bytes:
        """Pack the shard's counts."""
        return self._impressions.pack()


def graduate(step_id: str, shown: KeyedStream[ImpressionBatch], config: LearnSettings) -> KeyedStream[Outgoing]:
    """Publish a row for each item that has been shown often enough."""
    rows = op.stateful_batch(step_id, shown, lambda packed: GraduateLogic(packed, config))
    return op.map(f"{step_id}_rows", rows, lambda keyed: (keyed[1].key, keyed[1]))
