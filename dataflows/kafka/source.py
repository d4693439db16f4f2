"""A lean partitioned Kafka source: bytes in batches, offsets in the recovery store and, for lag tools, in a group."""

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client, partitions_of, topic_id
from dataflows.kafka.consumers import bounds_of, new_consumer, raise_unless_harmless, record_of, size_of
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

log = logging.getLogger(__name__)

SourceState: TypeAlias = int | tuple[int, str | None]
"""The next offset, and the id of the topic that it counts in; earlier releases kept the offset alone."""


class LostOffsetError(EddyError):
    """The log no longer holds the offset at which a flow has to go on."""


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
        """Return how many offsets lie after what has been handed over, by topic and partition, as the client knows.

        It may be called from another thread; what is not known yet, or not any more, is left out.
        """
        found: list[tuple[tuple[str, str], float]] = []
        consumer = self._consumer
        for (topic, partition), inbox in self._inboxes.copy().items():
            try:
                bounds = consumer and consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            except (KafkaException, RuntimeError):  # it is being closed
                break
            if bounds and bounds[1] >= 0:
                found.append(((topic, str(partition)), float(max(0, bounds[1] - inbox.next))))
        return found

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


@dataclass(frozen=True)
class KafkaSource(FixedPartitionedSource[Record, SourceState]):
    """All partitions of one topic; the state of each is its next offset, and in which topic of that name."""

    client: Client = field(repr=False)
    """librdkafka options; they may hold secrets."""
    topic: str
    consumer: SharedConsumer
    """Reads for all sources of a process."""
    stop: Callable[[], bool]
    """Once true, nothing more is read: every partition ends and the flow drains."""
    after_epoch: Callable[[], bool] = lambda: False
    """Once that is so: whether the flow ends with the snapshot of the running epoch, with no partition at its end."""
    before_snapshot: Callable[[], None] = lambda: None
    """Called before each snapshot; what it raises stops the flow with nothing snapshot."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin without a snapshot; `latest` holds once, afterwards the group's committed offsets do."""
    lost_offsets: Literal["fail", "earliest"] = "fail"
    """What to do where the log no longer holds the offset to resume at."""

    def list_parts(self) -> list[str]:
        """Name the partitions; zero-padded, since the engine orders names as text."""
        return [f"{partition:05d}" for partition in range(self.consumer.look_up(self.topic))]

    def build_part(self, step_id: str, for_part: str, resume_state: SourceState | None) -> "KafkaSourcePartition":  # noqa: ARG002
        """Open one partition at its snapshot's offset, or at `start`."""
        return KafkaSourcePartition(self, int(for_part), resume_state)


class KafkaSourcePartition(StatefulSourcePartition[Record, SourceState]):
    """Reads one partition."""

    def __init__(self, source: KafkaSource, partition: int, resume: SourceState | None) -> None:
        self._source = source
        self._partition = partition
        self._awake: datetime | None = None
        self._topic_id = source.consumer.topic_id(source.topic)
        bounds = source.consumer.bounds(source.topic, partition)
        self._next = self._begin(*bounds) if resume is None else self._resume(resume, *bounds)
        self._is_stopped = self._is_over = False
        """Whether nothing more is read; whether that is so since before the newest snapshot."""
        self._snapshot_at: int | None = None
        self._committed_at = self._next
        self._inbox = source.consumer.open(source.topic, partition, self._next)

    def _begin(self, first: int, end: int) -> int:
        """Return where to read from without a snapshot."""
        if self._source.start == "earliest":
            return first
        return min(max(self._source.consumer.latest(self._source.topic).get(self._partition, first), first), end)

    def _resume(self, state: SourceState, first: int, end: int) -> int:
        """Return where to go on from a snapshot."""
        at, known_id = (state, None) if isinstance(state, int) else state
        is_another = None not in (known_id, self._topic_id) and known_id != self._topic_id
        if first <= at <= end and not is_another:
            return at
        lost = self._lost(at, first, end, is_another=is_another)
        if self._source.lost_offsets == "fail":
            raise LostOffsetError(lost)
        log.warning("%s", lost)
        return first

    def _lost(self, at: int, first: int, end: int, *, is_another: bool = False) -> str:
        where = f"{self._source.topic}/{self._partition}: the flow has to go on at offset {at}"
        if is_another:
            where += " of a topic that was deleted: this is another one of its name, and none of it has been read"
        elif at < first:
            where += f", but the log begins at {first}: {first - at} messages were deleted before they were read"
        else:
            where += f", but the log ends at {end}: the topic was deleted and made again, or cut"
        if self._source.lost_offsets == "earliest":
            return f"{where}. It goes on at {first}, as EDDY_KAFKA__LOST_OFFSETS=earliest says"
        return (
            f"{where}. To go on without them, start once with EDDY_KAFKA__LOST_OFFSETS=earliest; "
            "to keep this from happening, raise the topic's retention.ms above the longest stop, and add processes "
            "where the flow falls behind"
        )

    def next_batch(self) -> list[Record]:
        """Return what has arrived, without waiting."""
        source = self._source
        if source.stop():
            return self._end()
        records = source.consumer.take(self._inbox)
        if records:
            self._next = records[-1].offset + 1
            self._awake = None
        elif self._inbox.out_of_range:
            self._go_on_behind_the_gap()
        else:
            self._awake = datetime.now(UTC) + source.consumer.rest()
        return records

    def _end(self) -> list[Record]:
        """End, or wait until what was read is in a snapshot.

        The engine asks nobody in an epoch before the snapshots of the one before are written; and since the stop
        nothing was read for any partition. So whoever is asked again after its snapshot may end the flow at once.

        Raises
        ------
        StopIteration : the partition is at its end.
        AbortExecution : the flow is.
        """
        if not self._source.after_epoch():
            raise StopIteration
        if self._is_over:
            raise AbortExecution
        self._is_stopped = True
        self._awake = datetime.now(UTC) + timedelta(seconds=MOST_REST_S)
        return []

    def _go_on_behind_the_gap(self) -> None:
        """Begin again at the log's beginning, where the settings allow it: the log has lost the next offset."""
        source = self._source
        first, end = source.consumer.bounds(source.topic, self._partition)
        now_id = topic_id(source.client, source.topic)
        is_another = None not in (now_id, self._topic_id) and now_id != self._topic_id
        lost = self._lost(self._next, first, end, is_another=is_another)
        if source.lost_offsets == "fail":
            raise LostOffsetError(lost)
        log.warning("%s", lost)
        self._next, self._topic_id = first, now_id
        self._inbox = source.consumer.reopen(source.topic, self._partition, first)

    def next_awake(self) -> datetime | None:
        """Say when to poll again after an empty batch."""
        return self._awake

    def snapshot(self) -> SourceState:
        """Return the next offset; commit the one before it, which the recovery store holds by now."""
        self._source.before_snapshot()
        self._is_over = self._is_stopped
        if self._snapshot_at is not None and self._snapshot_at != self._committed_at:
            self._commit(self._snapshot_at, asynchronous=True)
        self._snapshot_at = self._next
        return self._next, self._topic_id

    def _commit(self, offset: int, *, asynchronous: bool) -> None:
        self._source.consumer.commit(self._source.topic, self._partition, offset, asynchronous=asynchronous)
        self._committed_at = offset

    def close(self) -> None:
        """Commit the last offset and leave."""
        try:
            if self._next != self._committed_at:
                self._commit(self._next, asynchronous=False)
        except KafkaException:
            pass  # the group only serves lag tools; the recovery store holds the truth
        finally:
            self._source.consumer.close(self._source.topic, self._partition)
