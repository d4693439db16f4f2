"""The one client that reads all partitions of a process, and what has arrived for each and waits."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client, partitions_of, topic_id
from dataflows.kafka.consumers import behind_of, bounds_of, new_consumer, raise_unless_harmless, record_of, size_of
from dataflows.records import Record

BATCH = 1_000
"""Records that partitions with a backlog hand over in a round, all together: how long a flow works until it asks
again."""
MAX_READ_AHEAD = 10 * BATCH
"""Records of all partitions that may wait here; the client's own queues hold the rest."""
MAX_BYTES = 64 * 2**20
"""Bytes of the same."""
MAX_BATCH_BYTES = 8 * 2**20
"""Of what a partition hands over in a round, or one record."""
LEAST_REST_S, MOST_REST_S = 0.0005, 0.002
"""How long an empty partition rests before it is polled again: an eighth of the time for which nothing has come, within
these. Of slates at 500/s the middle one took 2.8 ms with the first and 3.6 with the second; at rest the first alone
would keep a sixth of a core busy."""
ASK_EVERY_S = 0.0002
"""Between two questions to the client: the partitions of a process are polled one after the other, and one question is
for all."""


class SourceError(EddyError):
    """A topic cannot be read."""


class SharedConsumer:
    """One client that reads all partitions of a process: its connections and threads do not grow with them.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    group : consumer group to which offsets are committed, for lag tools; the recovery store decides where to resume.
    clock : seconds that only rise.
    """

    def __init__(self, client: Client, group: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._group = group
        self._consumer: Consumer | None = None
        self._inboxes: dict[tuple[str, int], Inbox] = {}
        self._n_waiting = 0
        self._n_bytes = 0
        self._clock = clock
        self._asked_at = self._arrived_at = clock()
        self._latest: dict[str, dict[int, int]] = {}
        self._topic_ids: dict[str, str | None] = {}
        self._looked_up: dict[tuple[str, int], tuple[int, int]] = {}
        self.while_idle: list[Callable[[], None]] = []
        """Each is called where a partition is asked and nothing has arrived for any; not longer than a slate may
        wait."""

    @property
    def client(self) -> Consumer:
        """The client, which connects when it is first needed."""
        if self._consumer is None:
            self._consumer = new_consumer(self._client, self._group, reset="error", committed_only=False)
        return self._consumer

    def look_up(self, topic: str) -> int:
        """Ask what it takes to open a topic's partitions, while none is read; returns how many there are.

        An epoch ends so long after its partition was opened, and all others wait for the one that was opened last, at
        every epoch. Once partitions are read, a question waits behind a fetch, half a second: nine of them made each
        slate of seconds wait for as long.

        Raises
        ------
        SourceError : the broker does not say.
        """
        n = partitions_of(self._client, topic)
        self.topic_id(topic)
        for partition in range(n):
            self._looked_up[topic, partition] = self.bounds(topic, partition)
        return n

    def topic_id(self, topic: str) -> str | None:
        """Return what tells a topic from another one of its name, as it was when this was first asked."""
        if topic not in self._topic_ids:
            self._topic_ids[topic] = topic_id(self._client, topic)
        return self._topic_ids[topic]

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return a partition's first offset and the one after its last, as `look_up` found them the first time.

        Raises
        ------
        SourceError : the broker does not say.
        """
        if (known := self._looked_up.pop((topic, partition), None)) is not None:
            return known
        try:
            return bounds_of(self.client, topic, partition)
        except KafkaException as failure:
            raise _unreadable(f"{topic}/{partition}", failure.args[0]) from failure

    def open(self, topic: str, partition: int, offset: int) -> "Inbox":
        """Begin to read a partition at an offset."""
        inbox = self._inboxes[topic, partition] = Inbox(offset)
        self.client.incremental_assign([TopicPartition(topic, partition, offset)])
        return inbox

    def reopen(self, topic: str, partition: int, offset: int) -> "Inbox":
        """Go on with a partition at another offset."""
        self._leave(topic, partition)
        self.client.incremental_unassign([TopicPartition(topic, partition)])
        return self.open(topic, partition, offset)

    def take(self, inbox: "Inbox") -> list[Record]:
        """Return what has arrived for a partition, at most its part of a round, without waiting."""
        has_room = self._n_waiting < MAX_READ_AHEAD and self._n_bytes < MAX_BYTES
        if not inbox.records and has_room and (now := self._clock()) - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now
            self._distribute()
        if not inbox.records:
            if not self._n_waiting:
                for work in self.while_idle:
                    work()
            return []
        taken: list[Record] = []
        n_bytes = 0
        limit = BATCH // max(1, sum(bool(other.records) for other in self._inboxes.values())) or 1
        while inbox.records and len(taken) < limit and n_bytes < MAX_BATCH_BYTES:
            taken.append(inbox.records.popleft())
            n_bytes += size_of(taken[-1])
        self._n_waiting -= len(taken)
        self._n_bytes -= n_bytes
        inbox.next = taken[-1].offset + 1
        return taken

    def rest(self) -> timedelta:
        """Say how long an empty partition may be left alone."""
        silent_s = self._asked_at - self._arrived_at
        return timedelta(seconds=min(max(silent_s / 8, LEAST_REST_S), MOST_REST_S))

    def _distribute(self) -> None:
        for message in self.client.consume(BATCH if self._n_bytes < MAX_BYTES // 2 else 1, 0):
            inbox = self._inboxes.get((message.topic() or "", message.partition() or 0))
            error = message.error()
            if error is not None:
                _note(f"{message.topic()}/{message.partition()}", error, inbox)
                continue
            if inbox is None:
                continue  # left in the client's queue by a partition that was closed
            record = record_of(message)
            inbox.records.append(record)
            self._arrived_at = self._asked_at
            self._n_waiting += 1
            self._n_bytes += size_of(record)

    def commit(self, topic: str, partition: int, offset: int, *, asynchronous: bool) -> None:
        """Commit an offset to the group."""
        self.client.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=asynchronous)  # type: ignore[call-overload]

    def latest(self, topic: str) -> dict[int, int]:
        """Return where to begin a topic of which only what is new is wanted, by partition.

        At the first start those are the partitions' ends, and they are committed at once: so what was written since is
        read, should a crash come before the first snapshot. A partition without a commit beside others has been added.
        """
        if topic not in self._latest:
            parts = [TopicPartition(topic, partition) for partition in range(partitions_of(self._client, topic))]
            found = {part.partition: part.offset for part in self.client.committed(parts, timeout=30.0)}
            known = {partition: offset for partition, offset in found.items() if offset >= 0}
            if not known:
                known = {part.partition: self.bounds(topic, part.partition)[1] for part in parts}
                for partition, end in known.items():
                    self.commit(topic, partition, end, asynchronous=False)
            self._latest[topic] = known
        return self._latest[topic]

    def behind(self) -> list[tuple[tuple[str, str], float]]:
        """Return how many offsets lie after what has been handed over (`behind_of`); on any thread."""
        consumer = self._consumer
        read_until = {place: inbox.next for place, inbox in self._inboxes.copy().items()}
        return behind_of(consumer, read_until) if consumer is not None else []

    def close(self, topic: str, partition: int) -> None:
        """Stop reading a partition; the last one closes the client."""
        self._leave(topic, partition)
        if not self._inboxes:
            self.client.close()
            self._consumer = None
        else:
            self.client.incremental_unassign([TopicPartition(topic, partition)])

    def _leave(self, topic: str, partition: int) -> None:
        left = self._inboxes.pop((topic, partition)).records
        self._n_waiting -= len(left)
        self._n_bytes -= sum(map(size_of, left))


@dataclass(slots=True)
class Inbox:
    """What has arrived for one partition and was not handed over yet."""

    next: int
    """The offset after the last record that was handed over."""
    records: deque[Record] = field(default_factory=deque)
    out_of_range: bool = False
    """Whether the log no longer holds the next offset."""


def _unreadable(where: str, error: KafkaError) -> SourceError:
    return SourceError(
        f"{where}: cannot be read: {error.str()}. `eddy doctor` says what is wrong with broker, topics and rights; "
        "started again, the flow goes on from its last snapshot"
    )


def _note(where: str, error: KafkaError, inbox: Inbox | None) -> None:
    """Take what the client reports in place of a message; raises what it does not recover from by itself."""
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
        if inbox is not None:
            inbox.out_of_range = True
    else:
        try:
            raise_unless_harmless(error)
        except KafkaException as failure:
            raise _unreadable(where, error) from failure
