"""Brings slates and items from their topics into the read model, whatever becomes of either."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from dataflows.codecs import catalog_decoder, encode
from dataflows.kafka.admin import Client, topic_id
from dataflows.kafka.reader import Batch, KafkaReader
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.serve.asking import KEEPING, Store
from dataflows.serve.read_models.contract import (
    Kind,
    LostStoreError,
    Offsets,
    Place,
    TopicPart,
    TopicRow,
    WentBackError,
)
from dataflows.serve.slates import head_of
from models.messages import MAX_ID, DeadLetter, Item

log = logging.getLogger(__name__)

RETRY_S = 0.5
"""How long to wait before a store that failed is asked again."""
CHECK_S = 5.0
"""How often a store on a server is looked at while nothing comes: it may have come back empty."""
KEPT: dict[str, Kind] = {"recommendations": "slates", "catalog": "items"}
"""What is kept of which topic."""

Slate = tuple[str, str, bytes | None]
"""A user's id, what triggered their slate, and the slate; None where the user was erased."""


class Keeper:
    """Reads `recommendations` and `catalog` on from where the store has them, on its follower's thread.

    While the store is lost nothing is read. Where it has gone back, as a server that came back empty has, or where a
    topic was made again, it reads on from what the store says.

    Parameters
    ----------
    group : that the cluster knows it by.
    on_slates : given slates once they are kept, on that thread.
    counts : what is malformed is counted here.

    Raises
    ------
    EddyError : a topic is missing, no broker or store answers.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        group: str,
        store: Store,
        on_slates: Callable[[list[Slate]], None],
        counts: Counter[str],
    ) -> None:
        self._store = store
        self._model = store.model
        self._client = client
        self._on_slates = on_slates
        self._counts = counts
        self._kinds = {settings.topics.prefix + name: kind for name, kind in KEPT.items()}
        self._decode_items = catalog_decoder(settings.events)
        self._last: dict[Place, int] = {}
        self._closing = threading.Event()
        self._checked_at = time.monotonic()
        self._model.prepare()
        start = self._resume()
        self.reader = KafkaReader({**client, **settings.kafka.consumer_options}, [*self._kinds], group, start=start)
        self._rewind(start)

    @property
    def is_complete(self) -> bool:
        """Whether the store has all that the topics held when they were begun."""
        return self.reader.complete

    def close(self) -> None:
        """Wait for the store no more."""
        self._closing.set()

    def take(self, batches: list[Batch]) -> None:
        """Keep what has arrived; returns once the store has it, or the door closes."""
        slates: list[Slate] = []
        parts = []
        for topic, partition, records in batches:
            kind = self._kinds[topic]
            if kind == "items":
                rows = self._items(records)
            else:
                new = [(record.offset, slate) for record in records if (slate := self._slate(record)) is not None]
                rows = [TopicRow(offset, user_id, value) for offset, (user_id, _, value) in new]
                slates += [slate for _, slate in new]
            parts.append(TopicPart(kind, topic, partition, rows, records[-1].offset + 1))
        if self._is_kept(parts, is_anew=self._counts_anew(batches)) and slates:
            self._on_slates(slates)

    def idle(self) -> None:
        """Look now and then whether a server still has what it had."""
        if not self._model.is_local and time.monotonic() - self._checked_at > CHECK_S:
            self._is_kept([], is_anew=False)
            self._checked_at = time.monotonic()

    def _is_kept(self, parts: list[TopicPart], *, is_anew: bool) -> bool:
        """Let the store keep parts, however long it is lost meanwhile; says whether it has, or all is read again."""
        while not self._closing.is_set():
            try:
                if is_anew:
                    log.warning("the store of the slates or one of its topics has gone back: it is read on from there")
                    self._model.prepare()
                    start = self._resume()
                    self.reader.begin(start)
                    self._rewind(start)
                else:
                    self._model.keep(parts)
            except WentBackError:
                is_anew = True
            except LostStoreError as error:
                self._store.note(KEEPING, str(error))
                self._closing.wait(RETRY_S)
            else:
                self._store.note(KEEPING, None)
                return not is_anew
        return False

    def _resume(self) -> dict[str, Offsets]:
        """Ask the store where to go on in each topic."""
        return {
            topic: self._model.resume(kind, topic, topic_id(self._client, topic)) for topic, kind in self._kinds.items()
        }

    def _rewind(self, start: dict[str, Offsets]) -> None:
        """Where a log does not reach as far as the store has read it, let the store count as the log does now."""
        self._last.clear()
        for (topic, partition), at in self.reader.begun.items():
            if at < start[topic].get(partition, 0):
                self._model.rewind(topic, partition, at)

    def _counts_anew(self, batches: list[Batch]) -> bool:
        """Say whether a log gives offsets that it has given before, as one that was made again does."""
        is_anew = any(records[0].offset <= self._last.get((topic, p), -1) for topic, p, records in batches)
        self._last |= {(topic, p): records[-1].offset for topic, p, records in batches}
        return is_anew

    def _slate(self, record: Record) -> Slate | None:
        """Read whose slate a record is, and what triggered it; None where it is none."""
        try:
            user_id = (record.key or b"").decode()
            trigger = "" if record.value is None else head_of(record.value).trigger_id
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            user_id = trigger = ""
        if not 0 < len(user_id) <= MAX_ID:
            self._counts["malformed_slate"] += 1
            return None
        return user_id, trigger, record.value

    def _items(self, records: list[Record]) -> list[TopicRow]:
        """Read what records say of items."""
        rows = []
        for record, entry in zip(records, self._decode_items(records), strict=True):
            if isinstance(entry, DeadLetter):
                self._counts["malformed_item"] += 1
            elif entry[1] is None:
                rows.append(TopicRow(record.offset, entry[0], None))
            else:
                item: Item = entry[1]
                words = " ".join((item.title, *item.categories, *item.tags))
                rows.append(TopicRow(record.offset, item.item_id, encode(item), words))
        return rows
