"""A lean partitioned Kafka source: bytes in batches, offsets in the recovery store and, for lag tools, in a group."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataflows.connectors.kafka_admin import partitions_of
from dataflows.errors import EddyError
from dataflows.records import Record

Option = str | int | float | bool


class LostOffsetError(EddyError):
    """The log no longer holds the offset at which a flow has to go on."""


@dataclass(frozen=True)
class KafkaSource(FixedPartitionedSource[Record, int]):
    """All partitions of one topic; the state of each is its next offset."""

    client: dict[str, Option] = field(repr=False)
    """librdkafka options; they may hold secrets."""
    topic: str
    group: str
    """Consumer group to which offsets are committed, for lag tools; the recovery store decides where to resume."""
    stop: Callable[[], bool]
    """Once true, every partition ends and the flow drains."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where to begin without a snapshot."""
    lost_offsets: Literal["fail", "earliest"] = "fail"
    """What to do where the log no longer holds the offset to resume at."""
    batch_size: int = 1_000
    idle_s: float = 0.002
    """How long an empty partition rests before it is polled again."""
    until_end: bool = False
    """End at the present end of each partition: for batch runs and tests."""

    def list_parts(self) -> list[str]:
        """Name the partitions; zero-padded, since the engine orders names as text."""
        return [f"{partition:05d}" for partition in range(partitions_of(self.client, self.topic))]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "KafkaSourcePartition":  # noqa: ARG002
        """Open one partition at its snapshot's offset, or at `start`."""
        return KafkaSourcePartition(self, int(for_part), resume_state)


class KafkaSourcePartition(StatefulSourcePartition[Record, int]):
    """Reads one partition."""

    def __init__(self, source: KafkaSource, partition: int, resume_at: int | None) -> None:
        self._source = source
        self._partition = partition
        self._awake: datetime | None = None
        self._idle = timedelta(seconds=source.idle_s)
        self._consumer = Consumer(
            source.client
            | {
                "group.id": source.group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
            }
        )
        first, end = self._consumer.get_watermark_offsets(TopicPartition(source.topic, partition), timeout=30)
        self._next = self._first_offset(resume_at, first, end)
        self._snapshot_at: int | None = None
        self._committed_at = self._next
        self._consumer.assign([TopicPartition(source.topic, partition, self._next)])

    def _first_offset(self, resume_at: int | None, first: int, end: int) -> int:
        if resume_at is None:
            return first if self._source.start == "earliest" else end
        if first <= resume_at <= end:
            return resume_at
        if self._source.lost_offsets == "earliest":
            return first
        raise LostOffsetError(self._lost(resume_at, first, end))

    def _lost(self, at: int, first: int, end: int) -> str:
        where = f"{self._source.topic}/{self._partition}: the flow has to go on at offset {at}"
        if at < first:
            where += f", but the log begins at {first}: {first - at} messages were deleted before they were read"
        else:
            where += f", but the log ends at {end}: the topic was made anew or cut"
        return (
            f"{where}. To go on without them, start once with EDDY_KAFKA__LOST_OFFSETS=earliest; "
            "to keep this from happening, raise the topic's retention.ms above the longest stop"
        )

    def next_batch(self) -> list[Record]:
        """Return what has arrived, at most `batch_size` records, without waiting."""
        if self._source.stop():
            raise StopIteration
        records = []
        partition = self._partition
        ended = False
        for message in self._consumer.consume(self._source.batch_size, 0):
            if message.error() is not None:
                ended |= self._is_end(message)
                continue
            records.append(
                Record(partition, message.offset() or 0, message.timestamp()[1], message.key(), message.value())
            )
        if records:
            self._next = records[-1].offset + 1
            self._awake = None
        elif ended and self._source.until_end:
            raise StopIteration
        else:
            self._awake = datetime.now(UTC) + self._idle
        return records

    def _is_end(self, message: Message) -> bool:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            return error is not None
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001
            part = TopicPartition(self._source.topic, self._partition)
            raise LostOffsetError(self._lost(self._next, *self._consumer.get_watermark_offsets(part, timeout=30)))
        if error.retriable() or error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):  # noqa: SLF001
            return False  # librdkafka reconnects by itself
        raise KafkaException(error)

    def next_awake(self) -> datetime | None:
        """Say when to poll again after an empty batch."""
        return self._awake

    def snapshot(self) -> int:
        """Return the next offset; commit the one before it, which the recovery store holds by now."""
        if self._snapshot_at is not None and self._snapshot_at != self._committed_at:
            self._commit(self._snapshot_at, asynchronous=True)
        self._snapshot_at = self._next
        return self._next

    def _commit(self, offset: int, *, asynchronous: bool) -> None:
        offsets = [TopicPartition(self._source.topic, self._partition, offset)]
        if asynchronous:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        else:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        self._committed_at = offset

    def close(self) -> None:
        """Commit the last offset and leave."""
        try:
            if self._next != self._committed_at:
                self._commit(self._next, asynchronous=False)
        except KafkaException:
            pass  # the group only serves lag tools; the recovery store holds the truth
        finally:
            self._consumer.close()
