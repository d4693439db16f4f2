"""The item table as a process follows it: complete before the first slate, then changed between two batches.

A background thread only reads and stages; whoever scores applies a bounded number of staged rows, in place, between two
batches. So a batch sees one version, and no lock is held while scoring.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from dataflows.codecs import KeyedDecoder
from dataflows.errors import EddyError
from dataflows.files.lines import FileError
from dataflows.files.source import FileSource, read_whole
from dataflows.following.rows import CatalogRows, NewVersion, RankerRows, apply_rows, apply_rows_that_are_sound
from dataflows.kafka.admin import Client
from dataflows.kafka.consumers import size_of
from dataflows.kafka.reader import Batch, Follower, KafkaReader, raised_by_check
from dataflows.plausible import Latest
from dataflows.records import Record
from models.items import ItemTable
from models.messages import Item
from models.online.registry import VersionRegistry

MAX_ROWS_BETWEEN_BATCHES = 1_000
MAX_STAGED_CHUNKS = 64
WAIT_S = 0.01
MAX_STAGED_BYTES = 64 * 2**20
"""Of rows that wait to be applied, and one chunk more."""


class Tables(Protocol):
    """An item table, and what keeps it current."""

    table: ItemTable

    @property
    def version(self) -> str:
        """Name what has been applied so far."""

    def refresh(self) -> None:
        """Apply some of what has arrived; called between two batches."""

    def take_versions(self) -> list[NewVersion]:
        """Return the rankers that have another version since the last call."""


class _Chunk(NamedTuple):
    topic: str
    partition: int
    end: int
    """The offset after its last record."""
    records: list[Record]
    rankers: list[NewVersion]
    n_bytes: int


class KafkaTables:
    """Follows `model-updates` and `catalog`.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    model_updates, catalog : topic names.
    group : under which the cluster knows the reader.
    decode_catalog : bad entries are only counted here, `learn` writes their dead letters.
    latest : no row may be of a later time.
    on_failure : given what ended the thread that reads, on it.
    """

    def __init__(
        self,
        client: Client,
        model_updates: str,
        catalog: str,
        group: str,
        decode_catalog: KeyedDecoder[Item],
        table: ItemTable,
        counts: Counter[str],
        latest: Latest,
        on_failure: Callable[[EddyError], None] = raised_by_check,
    ) -> None:
        self.table = table
        self._latest = latest
        self._catalog = catalog
        self._entries = CatalogRows(table, decode_catalog, counts)
        self._counts = counts
        self._staged: deque[_Chunk] = deque()
        self._room = threading.Semaphore(MAX_STAGED_CHUNKS)
        self._closing = False
        self._versions = RankerRows(counts)
        self._rankers: list[NewVersion] = []
        reader = KafkaReader(client, [model_updates, catalog], group)
        self._offsets = {partition: 0 for topic, partition in sorted(reader.ends) if topic == model_updates}
        self._follower = Follower(reader, self._stage, "tables", on_failure)

    @property
    def version(self) -> str:
        """Name the applied offset of each partition of `model-updates`."""
        return ".".join(str(offset) for offset in self._offsets.values())

    @property
    def registry(self) -> VersionRegistry:
        """Return what is known of versions, as far as it was read; another thread adds to it."""
        return self._versions.registry

    def load(self) -> int:
        """Apply all that the topics hold now; returns how many records that were.

        Raises
        ------
        EddyError : the topics cannot be read.
        """
        n, complete = 0, False
        while not complete:
            complete = self._follower.wait_until_complete(0.05)
            while self._staged:
                n += self._apply_next()
        return n

    def refresh(self) -> None:
        """Apply at most about a thousand rows of what has arrived.

        Raises
        ------
        EddyError : what ended the thread that reads.
        """
        self._follower.check()
        n = 0
        while self._staged and n < MAX_ROWS_BETWEEN_BATCHES:
            n += self._apply_next()

    def take_versions(self) -> list[NewVersion]:
        """Return the rankers that have another version since the last call."""
        taken, self._rankers = self._rankers, []
        return taken

    def close(self) -> None:
        """Stop following."""
        self._closing = True
        self._room.release()
        self._follower.close()

    def _stage(self, batches: list[Batch]) -> None:
        for topic, partition, records in batches:
            self._room.acquire()
            while sum(chunk.n_bytes for chunk in tuple(self._staged)) > MAX_STAGED_BYTES and not self._closing:
                time.sleep(WAIT_S)
            if self._closing:
                return
            rest, rankers = (records, []) if topic == self._catalog else self._versions.take(records)
            self._staged.append(
                _Chunk(topic, partition, records[-1].offset + 1, rest, rankers, sum(map(size_of, rest)))
            )

    def _apply_next(self) -> int:
        chunk = self._staged.popleft()
        self._room.release()
        if chunk.topic == self._catalog:
            self._entries.apply(chunk.records)
        else:
            apply_rows_that_are_sound(self.table, chunk.records, self._latest, self._counts)
            self._rankers += chunk.rankers
            self._offsets[chunk.partition] = chunk.end
        return len(chunk.records)


class FileTables:
    """A table of file topics: complete after `load`, it stays as it is.

    Parameters
    ----------
    rows, catalog : the topics `model-updates` and `catalog`.
    decode_catalog : bad entries are only counted here, `learn` writes their dead letters.
    latest : no row may be of a later time.
    """

    def __init__(
        self,
        rows: FileSource,
        catalog: FileSource,
        decode_catalog: KeyedDecoder[Item],
        table: ItemTable,
        counts: Counter[str],
        latest: Latest,
    ) -> None:
        self.table = table
        self._latest = latest
        self.version = "0"
        """How many rows of `model-updates` there were."""
        self._rows = rows
        self._catalog = catalog
        self._entries = CatalogRows(table, decode_catalog, counts)
        self._versions = RankerRows(counts)
        self._rankers: list[NewVersion] = []

    def load(self) -> int:
        """Apply both topics; returns how many records that were.

        Raises
        ------
        FileError : a row of `model-updates` is malformed; the text names its key.
        """
        n_entries = n_rows = 0
        for records in read_whole(self._catalog):
            n_entries += len(records)
            self._entries.apply(records)
        for records in read_whole(self._rows):
            n_rows += len(records)
            rest, rankers = self._versions.take(records)
            self._rankers += rankers
            try:
                apply_rows(self.table, rest, self._latest)
            except ValueError as error:
                raise FileError(f"{self._rows.folder / self._rows.topic}: {error}") from error
        self.version = str(n_rows)
        return n_entries + n_rows

    def refresh(self) -> None:
        """Nothing arrives."""

    def take_versions(self) -> list[NewVersion]:
        """Return the rankers that were loaded, once."""
        taken, self._rankers = self._rankers, []
        return taken

    def close(self) -> None:
        """Nothing is open."""
