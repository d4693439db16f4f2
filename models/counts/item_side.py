"""The whole item side in one process: what `learn` and a follower of its rows do, for walks through the past."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_statistics import ItemStatistics
from models.counts.pairs import ShardBatch, add_up
from models.counts.sessions import NewestSessions
from models.counts.transitions import Contribution, UserTransitions, act_of
from models.counts.trending import TrendCounts
from models.events import EventConfig
from models.items import ItemTable
from models.items.learned import Encoder
from models.items.vectors import HASHED, TextSpace
from models.items.wire import ContentRow, PackedRow, neighbours_key, trending_key
from models.messages import Event, Item
from models.numeric.decay import MAX_HALF_LIVES


class ItemSide:
    """Learns events and keeps the table that scoring reads.

    Every row goes the way that it goes in production: learned by shard, packed, applied. So nothing that is trained on
    this table differs from what is served.

    Parameters
    ----------
    items : the catalog, known from the start.
    at : about when the first event happened, Unix ms.
    profile : what a session is, and who is a bot.
    texts : where items and searches are compared.
    """

    def __init__(
        self,
        items: Sequence[Item],
        at: int,
        config: ItemSideConfig,
        events: EventConfig,
        profile: ProfileConfig,
        texts: TextSpace = HASHED,
    ) -> None:
        self._config, self._events, self._texts, self._items = config, events, texts, list(items)
        self._users: defaultdict[str, UserTransitions] = defaultdict(lambda: UserTransitions(profile))
        short_ms, long_ms = config.half_life_short_ms, config.half_life_long_ms
        self._shards = [
            (
                ItemStatistics(short_ms, long_ms, max_items=config.max_items_of_shard),
                TrendCounts(short_ms, config.min_users),
            )
            for _ in range(config.shards)
        ]
        self._sessions = NewestSessions(config.sessions)
        rows = [ContentRow(item.item_id, 1, vector) for item, vector in zip(items, texts.items(items), strict=True)]
        self._topic: dict[str, bytes] = {row.key: row.pack() for row in rows}
        self._encoder: Encoder | None = None
        self.table = self._load(at)

    def read_with(self, encoder: Encoder | None) -> None:
        """Let the tables, this one and those that follow, have a sequence model's vectors; None: nobody's."""
        self._encoder = encoder
        self.table.read_with(encoder)

    def rows(self) -> dict[str, bytes]:
        """Return all that is on the topic, packed, by key."""
        return dict(self._topic)

    def learn(self, events: Sequence[Event]) -> None:
        """Learn events, in their order, and publish what they changed; `table` may be another one afterwards."""
        contributions = list(self._contributions(events))
        if not contributions:
            return
        newest_at = max(contribution.at for contribution in contributions)
        if newest_at - self.table.landmark_at > MAX_HALF_LIVES * self._config.half_life_short_ms:
            self.table = self._load(newest_at)
        for batch in self._added_up(contributions):
            statistics, trending = self._shards[batch.shard]
            gone = [neighbours_key(item_id) for item_id in statistics.learn(batch)]
            gone += [trending_key(segment, batch.shard) for segment in trending.learn(batch)]
            self._publish(gone, [*statistics.take_changed(statistics.n), *trending.take_changed(batch.shard)])
        self._sessions.learn(contributions)
        self._publish([], self._sessions.take_changed())

    def _added_up(self, contributions: Sequence[Contribution]) -> list[ShardBatch]:
        config = self._config
        return add_up(contributions, config.shards, config.half_life_long_ms, config.half_life_between_ms)

    def _contributions(self, events: Sequence[Event]) -> Iterator[Contribution]:
        for event in events:
            act = act_of(event, self._events)
            learned = act and self._users[event.user_id].apply(act)
            if isinstance(learned, Contribution):
                yield learned

    def _publish(self, gone: list[str], changed: Sequence[PackedRow]) -> None:
        packed = {row.key: row.pack() for row in changed}
        for key in gone:
            self._topic.pop(key, None)
        self._topic.update(packed)
        self.table.apply_rows([key.encode() for key in (*gone, *packed)], [*(None for _ in gone), *packed.values()])

    def _load(self, at: int) -> ItemTable:
        """Build a table from the catalog and all rows, as a process does that starts at `at`."""
        table = ItemTable(
            at,
            half_life_short_ms=self._config.half_life_short_ms,
            half_life_long_ms=self._config.half_life_long_ms,
            texts=self._texts,
        )
        table.read_with(self._encoder)
        table.apply_items(self._items, [])
        table.apply_rows([key.encode() for key in self._topic], list(self._topic.values()))
        return table
