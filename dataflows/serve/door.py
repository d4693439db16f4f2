"""What stands behind the HTTP door: topics that are followed, the read model, who waits, and what is written."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

import numpy as np

from dataflows.errors import EddyError
from dataflows.kafka.acknowledged import AcknowledgedWriter
from dataflows.kafka.lag import Lags
from dataflows.kafka.reader import Batch, Follower, KafkaReader
from dataflows.kafka.rights import helper_group
from dataflows.kafka.watch import TopicWatch
from dataflows.run.settings import Settings
from dataflows.serve.asking import Store
from dataflows.serve.hub import Hub
from dataflows.serve.keeper import KEPT, Keeper, Slate
from dataflows.serve.pulse import Pulse
from dataflows.serve.read_models.contract import ReadModel
from dataflows.serve.watched import Rankers, Receipts
from models.items.row_keys import RowKey
from models.items.wire import TRENDING, TrendingRow
from models.segments import EVERYBODY

log = logging.getLogger(__name__)

WAIT_S = 0.02
"""How long a follower waits for a message before it looks whether it is to end."""
N_TRENDING = 50
PULSE = ("events", "dead-letters", "erasure-receipts")
FOLLOWED = (*KEPT, *PULSE, "model-updates", "experiment-results")
"""Topics whose every partition has to be read; only a start lists partitions."""
_TRENDS = f"trending/{EVERYBODY}/".encode()


class MessageWriter(Protocol):
    """Writes messages and says when they are kept."""

    async def write(self, topic: str, key: str, value: bytes | None) -> None:
        """Write a message; raises `WriteError` where it was not delivered."""


class Door:
    """Follows the topics and writes to them; used on one event loop, but for what its followers' threads do.

    Parameters
    ----------
    loop : what slates are handed to.
    writer : what events, requests and items are written by.
    """

    def __init__(
        self, settings: Settings, model: ReadModel, loop: asyncio.AbstractEventLoop, writer: MessageWriter
    ) -> None:
        self.settings = settings
        self.model = model
        self.store = Store(model)
        self.hub = Hub(settings.serve.max_streams)
        self.counts: Counter[str] = Counter()
        self.pulse = Pulse()
        self.rankers = Rankers()
        self.receipts = Receipts()
        self.client = settings.kafka.client() | {"fetch.wait.max.ms": 10}
        flows = ("recommend", "learn", *(("evaluate",) if settings.has_experiments else ()))
        self.lags = Lags(settings.kafka.client(), flows, settings.topics.prefix)
        self.writer = writer
        self._loop = loop
        self._trends: dict[int, TrendingRow] = {}
        self._keeper: Keeper | None = None
        self._followers: list[Follower] = []
        self._topics = TopicWatch(settings.kafka.client(), self._fail, only_growth=True)
        self.failure: EddyError | None = None

    def topic(self, name: str) -> str:
        """Name a topic of this installation."""
        return self.settings.topics.prefix + name

    @property
    def ready(self) -> bool:
        """Whether all that the topics held at the start has been read, and nothing has failed since."""
        return (
            self.failure is None
            and self.store.is_well
            and all(follower.wait_until_complete(0) for follower in self._followers)
            and (self._keeper is None or self._keeper.is_complete)
        )

    def start(self) -> None:
        """Follow the topics.

        Raises
        ------
        EddyError : a topic is missing, no broker or store answers.
        """
        options = {**self.client, **self.settings.kafka.consumer_options}
        group = helper_group("serve", self.settings.topics.prefix, "door")
        keeper = Keeper(self.settings, self.client, group, self.store, self._take_slates, self.counts)
        self._keeper = keeper
        watched = [self.topic(name) for name in PULSE]
        readers = [
            (KafkaReader(options, [self.topic("model-updates")], group), self._take_rows, "rows"),
            (KafkaReader(options, watched, group, start="latest"), self._watch, "pulse"),
            (KafkaReader(options, [self.topic("experiment-results")], group), self._take_results, "results"),
        ]
        self._followers = [
            Follower(keeper.reader, keeper.take, "newest-slates", self._fail, WAIT_S, keeper.idle),
            *(Follower(reader, take, name, self._fail, WAIT_S) for reader, take, name in readers),
        ]
        self.lags.start()
        for name in FOLLOWED:
            self._topics.add(self.topic(name))
        self._topics.start()

    def close(self) -> None:
        """Stop following."""
        self._topics.close()
        if self._keeper is not None:
            self._keeper.close()
        self.lags.close()
        for follower in self._followers:
            follower.close()
        self.store.close()

    def _fail(self, failure: EddyError) -> None:
        log.error("the door no longer follows its topics: %s", failure)
        self.failure = failure

    def _take_slates(self, slates: list[Slate]) -> None:
        self.pulse.note_slates(slates, time.time())
        self._loop.call_soon_threadsafe(self._hand_over, slates)

    def _hand_over(self, slates: list[Slate]) -> None:
        for user_id, trigger_id, value in slates:
            self.hub.publish(user_id, trigger_id, value)

    def _take_rows(self, batches: list[Batch]) -> None:
        """Keep what trends among all users, and the rankers' versions; the other rows are the flows'."""
        for record in (record for batch in batches for record in batch.records):
            key = record.key or b""
            try:
                if key.startswith(_TRENDS):
                    self._take_trend(key, record.value)
                else:
                    self.rankers.take(key, record.value)
            except ValueError:
                self.counts["malformed_row"] += 1

    def _take_trend(self, name: bytes, value: bytes | None) -> None:
        key = RowKey.parse(name)
        if value is None:
            self._trends.pop(key.number, None)
            return
        key.check(value)
        if key.code == TRENDING:
            self._trends[key.number] = TrendingRow.unpack(key.name, value)

    async def trending(self, n: int = 10) -> list[str]:
        """Return the ids of the catalog's items that trend among all users, the first first.

        Raises
        ------
        RefusedError : the store does not answer.
        """
        rows = list(self._trends.values())
        if not rows:
            return []
        newest = max(row.reference_at for row in rows)
        half_life_ms = self.settings.learn.half_life_short_ms
        weights = np.concatenate([row.weights * 0.5 ** ((newest - row.reference_at) / half_life_ms) for row in rows])
        hashes = np.concatenate([row.items for row in rows])
        best = np.argsort(-weights, kind="stable")[:N_TRENDING]
        return (await self.store.read(self.model.items_by_hash, hashes[best].tolist()))[:n]

    def _watch(self, batches: list[Batch]) -> None:
        now = time.time()
        for topic, _, records in batches:
            if topic.endswith("events"):
                self.pulse.note_events(records, now)
            elif topic.endswith("erasure-receipts"):
                self.receipts.take(records)
            else:
                self.pulse.note_letters(records)

    def _take_results(self, batches: list[Batch]) -> None:
        for record in (record for batch in batches for record in batch.records):
            self.pulse.note_result(record)


@contextmanager
def open_door(settings: Settings, model: ReadModel, loop: asyncio.AbstractEventLoop) -> Iterator[Door]:
    """Open the door over a read model; everything is closed with the context.

    Raises
    ------
    EddyError : a topic is missing, no broker or store answers.
    """
    with ExitStack() as stack:
        stack.callback(model.close)
        writer = AcknowledgedWriter(settings.kafka.client() | settings.kafka.producer_options)
        stack.callback(writer.close)
        door = Door(settings, model, loop, writer)
        stack.callback(door.close)
        door.start()
        yield door
