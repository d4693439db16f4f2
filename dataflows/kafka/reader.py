"""Reads whole topics from their beginning: once, as they come, or on a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

from confluent_kafka import KafkaException, TopicPartition

from dataflows.errors import EddyError, died
from dataflows.kafka.admin import Client, partitions_of
from dataflows.kafka.consumers import (
    PARTITION_END,
    Place,
    behind_of,
    bounds_of,
    new_consumer,
    raise_unless_harmless,
    record_of,
    written_ends,
)
from dataflows.records import Record

log = logging.getLogger(__name__)

MAX_RECORDS = 1_000
"""Records that are read at a time."""
TRANSACTION_S = 90.0
"""How long to wait for what an open transaction hides: longer than a broker lets one stay open."""
COUNT_EVERY_S = 1.0
"""How often it counts what it has not read."""
POLL_S = 0.1
"""How long to wait for so many: briefly, since an end is reported only then."""
Start: TypeAlias = Literal["earliest", "latest"] | Mapping[str, Mapping[int, int]]
"""Where to begin; by topic and partition, offsets to go on from."""


class ReadError(EddyError):
    """A topic cannot be read."""


class Batch(NamedTuple):
    """Records of one partition, in their order."""

    topic: str
    partition: int
    records: list[Record]


class KafkaReader:
    """Reads all partitions of some topics, only what is committed.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topics : their names.
    group : under which the cluster knows it, and nothing is committed; none: one named after the first topic.
    start : `latest` reads only what is written from now on; by topic and partition, offsets to go on from: a partition
        that is not named, or whose log no longer holds its offset, is read from its beginning.
    timeout_s : how long the broker may be silent until all that there was at the start is read.

    Raises
    ------
    TopicError : there is no such topic.
    ReadError : the topics cannot be read.
    """

    def __init__(
        self,
        client: Client,
        topics: list[str],
        group: str | None = None,
        *,
        start: Start = "earliest",
        timeout_s: float = 30.0,
    ) -> None:
        self._where = ", ".join(topics)
        self._client, self._group, self._topics = client, group or f"{topics[0]}-reader", topics
        self._timeout_s = timeout_s
        self._consumer = new_consumer(client, self._group)
        try:
            self.begin(start)
        except EddyError:
            self._consumer.close()
            raise

    def begin(self, start: Start) -> None:
        """Read on from `start`, wherever it is now; on the thread that reads.

        Raises
        ------
        TopicError : there is no such topic.
        ReadError : the topics cannot be read.
        """
        self._behind: list[tuple[tuple[str, str], float]] = []
        self._counted_at = 0.0
        self._silent_s = 0.0
        self._patience_s = self._timeout_s
        places = [(topic, p) for topic in self._topics for p in range(self._partitions_of(topic))]
        try:
            firsts = {place: bounds_of(self._consumer, *place, self._timeout_s)[0] for place in places}
            self.ends = written_ends(self._client, self._group, places, self._timeout_s)
            """By topic and partition: the offset after the last record that there was at the start."""
        except KafkaException as failure:
            raise self._explained(failure) from failure
        self.begun = firsts if start == "earliest" else self.ends if start == "latest" else self._begin(start, firsts)
        """By topic and partition: the offset that was begun at."""
        self._read_until = dict(self.begun)
        self._unfinished = {place for place in places if self.begun[place] < self.ends[place]}
        self._consumer.assign([TopicPartition(topic, p, self.begun[topic, p]) for topic, p in places])

    def _partitions_of(self, topic: str) -> int:
        return partitions_of(self._client, topic, self._timeout_s)

    def _begin(self, start: Mapping[str, Mapping[int, int]], firsts: dict[Place, int]) -> dict[Place, int]:
        begin = {}
        for place, first in firsts.items():
            topic, partition = place
            at = start.get(topic, {}).get(partition, first)
            begin[place] = at if first <= at <= self.ends[place] else first
        return begin

    @property
    def complete(self) -> bool:
        """Whether all that the topics held at the start has been read."""
        return not self._unfinished

    def offsets_at(self, moment: int) -> dict[Place, int]:
        """Say where each partition goes on at a moment: its first offset that was written then or later, or its end.

        Parameters
        ----------
        moment : in ms.

        Raises
        ------
        ReadError : no broker answers, or not for each of them.
        """
        asked = [TopicPartition(topic, partition, moment) for topic, partition in self.begun]
        try:
            found = self._consumer.offsets_for_times(asked, self._timeout_s)
        except KafkaException as failure:
            raise self._explained(failure) from failure
        for one in found:
            if one.error is not None:
                raise ReadError(
                    f"{one.topic}/{one.partition}: the broker does not say where it was then: {one.error.str()}"
                )
        places = {(one.topic, one.partition): one.offset for one in found}
        return {place: offset if offset >= 0 else self.ends[place] for place, offset in places.items()}

    def behind(self) -> list[tuple[tuple[str, str], float]]:
        """Return how many offsets lay after what had been read a moment ago (`behind_of`); on any thread."""
        return self._behind

    def poll(self, timeout_s: float) -> list[Batch]:
        """Return what has arrived, after at most `timeout_s`.

        Raises
        ------
        ReadError : the topics cannot be read.
        """
        read: dict[tuple[str, int], list[Record]] = {}
        asked_at = time.monotonic()
        try:
            # `consume` would wait for a whole batch: one message is waited for, and what lies behind it is taken along.
            first = self._consumer.poll(timeout_s)
            messages = [] if first is None else [first, *self._consumer.consume(MAX_RECORDS - 1, 0)]
            for message in messages:
                place = (message.topic() or "", message.partition() or 0)
                error = message.error()
                if error is None:
                    read.setdefault(place, []).append(record_of(message))
                    continue
                raise_unless_harmless(error)
                # The last offsets may be a transaction's marker, which is no record; and an open transaction hides the
                # records behind it, so this end may come before the one that there was at the start.
                if error.code() == PARTITION_END:
                    if (message.offset() or 0) >= self.ends[place]:
                        self._unfinished.discard(place)
                    else:
                        self._patience_s = max(self._timeout_s, TRANSACTION_S)
        except KafkaException as failure:
            raise self._explained(failure) from failure
        self._read_until |= {place: records[-1].offset + 1 for place, records in read.items()}
        if time.monotonic() - self._counted_at >= COUNT_EVERY_S:
            self._counted_at, self._behind = time.monotonic(), behind_of(self._consumer, self._read_until)
        for place in self._unfinished & read.keys():
            if read[place][-1].offset >= self.ends[place] - 1:
                self._unfinished.discard(place)
        self._silent_s = 0.0 if messages else self._silent_s + time.monotonic() - asked_at
        if self._unfinished and self._silent_s > self._patience_s:
            raise ReadError(
                f"{self._where}: nothing came for {self._patience_s:g} s: no broker answered (`eddy doctor` says what "
                "is wrong), or a writer's transaction has been open for so long"
            )
        return [Batch(topic, partition, records) for (topic, partition), records in read.items()]

    def _explained(self, failure: KafkaException) -> ReadError:
        return ReadError(f"{self._where}: cannot be read: {failure.args[0].str()}")

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def scan(client: Client, topic: str, timeout_s: float = 30.0) -> Iterator[Record]:
    """Give a topic's committed records from its beginning to where each partition ends at the start of the scan.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    timeout_s : how long the broker may be silent.

    Raises
    ------
    TopicError : there is no such topic.
    ReadError : the topic cannot be read.
    """
    reader = KafkaReader(client, [topic], timeout_s=timeout_s)
    try:
        while not reader.complete:
            for batch in reader.poll(POLL_S):
                end = reader.ends[topic, batch.partition]
                yield from (record for record in batch.records if record.offset < end)
    finally:
        reader.close()


def raised_by_check(_failure: EddyError) -> None:
    """Leave it at what `Follower.check` raises."""


def rest() -> None:
    """Do nothing where nothing has arrived."""


class Follower:
    """Reads on a thread of its own until it is closed.

    Parameters
    ----------
    reader : closed by that thread when it ends.
    take : given what has arrived, on that thread; while it waits, nothing more is read.
    name : the thread's.
    on_failure : given what ended the thread, on that thread, should anything do so; a flow ends with it.
    poll_s : how long it waits for a message before it looks whether it is to end.
    idle : called on that thread where nothing has arrived.
    """

    def __init__(
        self,
        reader: KafkaReader,
        take: Callable[[list[Batch]], None],
        name: str,
        on_failure: Callable[[EddyError], None] = raised_by_check,
        poll_s: float = POLL_S,
        idle: Callable[[], None] = rest,
    ) -> None:
        self._reader = reader
        self._idle = idle
        self._poll_s = poll_s
        self._take = take
        self._on_failure = on_failure
        self._closing = False
        self._failure: EddyError | None = None
        self._complete = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def wait_until_complete(self, timeout_s: float | None = None) -> bool:
        """Wait until `take` was given all that the topics held at the start; says whether it was.

        Raises
        ------
        EddyError : what ended the thread: the topics cannot be read, or anything else.
        """
        complete = self._complete.wait(timeout_s)
        self.check()
        return complete

    def close(self) -> None:
        """Stop reading."""
        self._closing = True
        self._thread.join(10)

    def _follow(self) -> None:
        try:
            while not self._closing:
                if batches := self._reader.poll(self._poll_s):
                    self._take(batches)
                else:
                    self._idle()
                if self._reader.complete:
                    self._complete.set()
        except BaseException as failure:  # whatever it was, the flow may not go on without this thread
            log.exception("the thread %s has died", self._thread.name)
            self._failure = died(self._thread.name, failure)
            self._on_failure(self._failure)
        finally:
            self._complete.set()
            self._reader.close()
