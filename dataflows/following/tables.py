"""The item table as a process follows it: complete before the first slate, then changed between two batches.

A background thread only reads and stages; whoever scores applies a bounded number of staged rows, in place, between two
batches. So a batch sees one version, and no lock is held while scoring.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dataflows.errors import EddyError
from dataflows.following.catalog_rows import CatalogDecoder, CatalogRows
from dataflows.following.ranker_rows import NewRanker, RankerRows
from dataflows.kafka.admin import partitions_of
from dataflows.records import Record
from models.items import ItemTable

Option = str | int | float | bool
log = logging.getLogger(__name__)

MAX_ROWS_BETWEEN_BATCHES = 1_000
MAX_STAGED_CHUNKS = 64


class Tables(Protocol):
    """An item table, and what keeps it current."""

    table: ItemTable

    @property
    def version(self) -> str:
        """Name what has been applied so far."""

    def refresh(self) -> None:
        """Apply some of what has arrived; called between two batches."""

    def take_rankers(self) -> list[NewRanker]:
        """Return the rankers that have another version since the last call."""


class FixedTables:
    """A table that stays as it is: for backtests and tests."""

    def __init__(self, table: ItemTable, version: str = "fixed") -> None:
        self.table = table
        self.version = version

    def refresh(self) -> None:
        """Nothing arrives."""

    def take_rankers(self) -> list[NewRanker]:
        """Nothing arrives."""
        return []


class _Chunk(NamedTuple):
    topic: str
    partition: int
    end: int
    """The offset after its last record."""
    records: list[Record]
    rankers: list[NewRanker]


class KafkaTables:
    """Follows `model-updates` and `catalog`.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    model_updates, catalog : topic names.
    decode_catalog : bad entries are only counted here, `learn` writes their dead letters.
    """

    def __init__(
        self,
        client: dict[str, Option],
        model_updates: str,
        catalog: str,
        decode_catalog: CatalogDecoder,
        table: ItemTable,
        counts: Counter[str],
    ) -> None:
        self.table = table
        self._catalog = catalog
        self._entries = CatalogRows(table, decode_catalog, counts)
        self._counts = counts
        self._staged: deque[_Chunk] = deque()
        self._room = threading.Semaphore(MAX_STAGED_CHUNKS)
        self._arrived = threading.Event()
        self._failure: EddyError | None = None
        self._stopping = False
        self._versions = RankerRows(counts)
        self._rankers: list[NewRanker] = []
        self._offsets: dict[int, int] = dict.fromkeys(range(partitions_of(client, model_updates)), 0)
        topics = {model_updates: len(self._offsets), catalog: partitions_of(client, catalog)}
        self._waiting = {(topic, p) for topic, n in topics.items() for p in range(n)}
        self._consumer = Consumer(
            client
            | {
                "group.id": "eddy-tables",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(topic, p, 0) for topic, p in sorted(self._waiting)])
        self._thread = threading.Thread(target=self._follow, name="tables", daemon=True)
        self._thread.start()

    @property
    def version(self) -> str:
        """Name the applied offset of each partition of `model-updates`."""
        return ".".join(str(self._offsets[p]) for p in sorted(self._offsets))

    def load(self, on_progress: Callable[[int], object] = lambda _n: None) -> int:
        """Apply all that the topics hold now; returns how many records that were.

        Raises
        ------
        EddyError : the topics cannot be read.
        """
        n = 0
        while True:
            complete = not self._waiting
            while self._staged:
                n += self._apply_next()
                on_progress(n)
            self._raise_failure()
            if complete:
                return n
            self._arrived.wait(0.05)
            self._arrived.clear()

    def refresh(self) -> None:
        """Apply at most about a thousand rows of what has arrived."""
        self._raise_failure()
        n = 0
        while self._staged and n < MAX_ROWS_BETWEEN_BATCHES:
            n += self._apply_next()

    def take_rankers(self) -> list[NewRanker]:
        """Return the rankers that have another version since the last call."""
        taken, self._rankers = self._rankers, []
        return taken

    def close(self) -> None:
        """Stop following."""
        self._stopping = True
        self._room.release()
        self._thread.join(10)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _follow(self) -> None:
        try:
            while not self._stopping:
                self._stage()
        except KafkaException as failure:
            self._failure = EddyError(f"the item tables cannot be followed: {failure.args[0].str()}")
        finally:
            self._consumer.close()

    def _stage(self) -> None:
        chunks: dict[tuple[str, int], list[Record]] = {}
        ended = set()
        for message in self._consumer.consume(MAX_ROWS_BETWEEN_BATCHES, 0.1):
            error = message.error()
            where = (message.topic() or "", message.partition() or 0)
            if error is None:
                chunks.setdefault(where, []).append(
                    Record(where[1], message.offset() or 0, message.timestamp()[1], message.key(), message.value())
                )
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ended.add(where)
            elif not error.retriable():
                raise KafkaException(error)
        for (topic, partition), records in chunks.items():
            self._room.acquire()
            rest, rankers = self._versions.take(records) if topic != self._catalog else (records, [])
            self._staged.append(_Chunk(topic, partition, records[-1].offset + 1, rest, rankers))
        if self._waiting:
            self._waiting -= ended
        if chunks or ended:
            self._arrived.set()

    def _apply_next(self) -> int:
        chunk = self._staged.popleft()
        self._room.release()
        if chunk.topic == self._catalog:
            self._entries.apply(chunk.records)
        else:
            self._apply_rows(chunk.records)
            self._rankers += chunk.rankers
            self._offsets[chunk.partition] = chunk.end
        return len(chunk.records)

    def _apply_rows(self, records: list[Record]) -> None:
        try:
            self.table.apply_rows([record.key or b"" for record in records], [record.value for record in records])
        except ValueError:
            for record in records:
                self._apply_row(record)

    def _apply_row(self, record: Record) -> None:
        try:
            self.table.apply_rows([record.key or b""], [record.value])
        except ValueError as error:
            self._counts["malformed_row"] += 1
            log.warning("a row of model-updates is left out: %s", error)
