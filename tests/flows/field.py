"""A field of use in memory: what others did is learned by one flow, and what a user does is answered by the other."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.recommend import RecommendInputs, RecommendOutputs, build
from dataflows.records import Record
from dataflows.run.presets import PresetName
from dataflows.run.settings import Settings
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Item
from models.serving.recommender import Recommender
from tests.flows.learning import Run as Learning
from tests.tables import FixedTables

NOW = 1_700_000_000_000
SECOND = 1_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR


def acts(user: str, *done: str, at: int = NOW, every: int = 20 * SECOND) -> list[dict[str, Any]]:
    """Write `type item` in words, one act after the other."""
    named = (act.split(maxsplit=1) for act in done)
    return [
        {"event_id": f"{user}-{at}-{n}", "user_id": user, "item_id": item, "event_type": event_type,
         "timestamp": at + n * every}
        for n, (event_type, item) in enumerate(named)
    ]  # fmt: skip


class Field:
    """A catalog under a preset, and what is known of it."""

    def __init__(self, preset: PresetName, items: list[Item], past: list[dict[str, Any]] | None = None) -> None:
        self.settings = Settings(preset=preset)
        learn = self.settings.learn
        self.table = ItemTable(
            NOW, half_life_short_ms=learn.half_life_short_ms, half_life_long_ms=learn.half_life_long_ms
        )
        self.table.apply_items(items, [])
        catalog = [Record(0, n, NOW, item.item_id.encode(), orjson.dumps(item)) for n, item in enumerate(items)]
        learned = Learning(_records(past or []), catalog, self.settings).run()
        self.table.apply_rows([key.encode() for key in learned.rows], list(learned.rows.values()))

    def serve(
        self, events: list[dict[str, Any]] | None = None, requests: list[dict[str, Any]] | None = None
    ) -> list[list[str]]:
        """Answer events, all together, and then requests: the items of each slate, by the slates' times."""
        slates: list[Any] = []
        letters: list[Any] = []
        flow = build(
            RecommendInputs(
                TestingSource(_records(events or []), batch_size=1_000),
                TestingSource(_records(requests or [])),
                TestingSource([]),
            ),
            RecommendOutputs(TestingSink(slates), TestingSink([]), TestingSink(letters), TestingSink([])),
            self.settings,
            Experiments(),
            Recommender(self.table),
            FixedTables(self.table),
            lambda: datetime.now(UTC),
            Counter(),
        )
        run_main(flow)
        assert letters == []
        made = sorted((orjson.loads(slate.value) for _, slate in slates), key=lambda slate: slate["created_at"])
        return [[item["item_id"] for item in slate["items"]] for slate in made]


def a_request(user: str = "u", at: int = NOW + DAY, **changes: Any) -> dict[str, Any]:
    return {"request_id": f"r-{user}-{at}", "user_id": user, "timestamp": at} | changes


def _records(messages: list[dict[str, Any]]) -> list[Record]:
    return [
        Record(0, n, message["timestamp"], message["user_id"].encode(), orjson.dumps(message))
        for n, message in enumerate(messages)
    ]
