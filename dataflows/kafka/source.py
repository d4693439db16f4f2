"""A lean partitioned Kafka source: bytes in batches, offsets in the recovery store and, for lag tools, in a group."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, TypeAlias

from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import KafkaException

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client, topic_id
from dataflows.kafka.shared_consumer import MOST_REST_S, SharedConsumer
from dataflows.records import Record

log = logging.getLogger(__name__)

SourceState: TypeAlias = int | tuple[int, str | None]
"""The next offset, and the id of the topic that it counts in; earlier releases kept the offset alone."""


class LostOffsetError(EddyError):
    """The log no longer holds the offset at which a flow has to go on."""


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
