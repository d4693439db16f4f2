"""The learn flow in memory, and records with defaults for it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.following.erasures import Erasures
from dataflows.learn import LearnInputs, LearnOutputs, build
from dataflows.records import Outgoing, Record
from dataflows.run.settings import LearnSettings, Settings

if TYPE_CHECKING:
    from models.rankers.checkpoint import Checkpoint

NOW = 1_700_000_000_000
SECOND = 1_000
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
"""A clock that stands here publishes whenever a shard has learned something."""
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
"""A clock that stands here publishes only at the end of the input."""
SETTINGS = Settings(learn=LearnSettings(shards=4, min_users=1))


def an_event(number: int, user: str = "u-1", item: str = "a", **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "event_id": f"e-{number}",
        "user_id": user,
        "item_id": item,
        "event_type": "view",
        "timestamp": NOW + number * SECOND,
    } | changes
    return Record(0, number, fields["timestamp"], user.encode(), orjson.dumps(fields))


def an_entry(number: int, item: str = "a", title: str | None = "A lamp") -> Record:
    value = None if title is None else orjson.dumps({"item_id": item, "title": title})
    return Record(0, number, NOW, item.encode(), value)


def garbage(number: int = 0) -> Record:
    return Record(0, number, NOW, b"k", b"{")


class Run:
    """A flow that may be run several times over one recovery store; what it wrote gathers."""

    def __init__(
        self,
        events: list[Any] | None = None,
        catalog: list[Any] | None = None,
        settings: Settings = SETTINGS,
        now: datetime = LONG_AGO,
        store: Path | None = None,
        batch_size: int = 10,
        slates: list[Any] | None = None,
        erasures: list[Any] | None = None,
    ) -> None:
        self.erasures, self.erased = erasures or [], Erasures()
        self.events, self.catalog, self.slates = events or [], catalog or [], slates or []
        self.settings, self.now, self.batch_size = settings, now, batch_size
        self.start: Checkpoint | None = None
        self.written: list[tuple[str, Outgoing]] = []
        self.letters: list[tuple[str, Outgoing]] = []
        self.receipts: list[tuple[str, Outgoing]] = []
        self.counts: Counter[str] = Counter()
        self.recovery: dict[str, Any] = {}
        if store is not None:
            store.mkdir()
            init_db_dir(store, 2)
            self.recovery = {"recovery_config": RecoveryConfig(store)}

    @property
    def topics(self) -> tuple[list[Any], ...]:
        return self.events, self.catalog, self.slates, self.erasures

    def flow(self) -> Any:
        return build(
            LearnInputs(*(TestingSource(topic, self.batch_size) for topic in self.topics)),
            LearnOutputs(TestingSink(self.written), TestingSink(self.letters), TestingSink(self.receipts)),
            self.settings,
            lambda: self.now,
            self.counts,
            self.start,
            self.erased,
        )

    def run(self) -> "Run":
        run_main(self.flow(), epoch_interval=timedelta(0), **self.recovery)
        return self

    @property
    def rows(self) -> dict[str, bytes | None]:
        """What a consumer of the compacted topic ends with."""
        assert all(key == outgoing.key for key, outgoing in self.written)
        return {key: outgoing.value for key, outgoing in self.written}

    def versions(self, key: str) -> list[int]:
        return [version_of(outgoing.value) for name, outgoing in self.written if name == key and outgoing.value]


def version_of(value: bytes) -> int:
    return int(np.frombuffer(value, np.int64, 3)[2])


def neighbours_of(value: bytes | None) -> list[int]:
    assert value is not None
    words = np.frombuffer(value, np.int64)
    return words[8 : 8 + (int(words[0]) >> 16)].tolist()


def many_events(n: int = 300) -> list[Record]:
    rng = np.random.default_rng(7)
    return [
        an_event(
            number,
            f"u-{rng.integers(9)}",
            f"i-{rng.integers(12)}",
            context={"device": ["tv", "phone"][number % 2]},
        )
        for number in range(n)
    ]


def many_entries(n: int = 60) -> list[Record]:
    """The last of them removes an item for good."""
    titles = [f"Lamp {number // 11}" if number % 7 else None for number in range(n)]
    return [an_entry(number, f"i-{number % 6}", title) for number, title in enumerate(titles)]
