"""A partitioned Kafka sink with one fenced writer a partition: no message is lost, none is written twice.

The snapshot of a partition is the offset from which a successor has to read back. A resumed writer first fences its
predecessor, then reads its own partition back from that offset and drops whatever the flow emits again. As long as the
flow has not repeated all that was read back, the snapshot stays before the first record that it still owes: a flow
that is stopped while it repeats is repeated again from the same place. Transactions commit beside the flow, as many
messages at a time as have gathered while the one before committed.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.errors import EddyError, FencedError
from dataflows.kafka.admin import Client, Option, partitions_of
from dataflows.kafka.read_back import FLOW_HEADER, ID_HEADER, read_back, record_hash
from dataflows.records import Outgoing

Delivery = Literal["transactional", "idempotent"]

REPEATED_S = 600.0
"""What was read back and is not repeated for so long, while the flow writes other records, is forgotten."""

log = logging.getLogger(__name__)

READ_BACK_S = 90.0
"""How long reading back waits for what an open transaction hides: longer than a broker lets one stay open."""

FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001


def nothing() -> None:
    """Let a partition be opened."""


class DeliveryError(EddyError):
    """The broker did not take a message."""


class GrownTopicError(EddyError):
    """An output topic has grown, and a cluster cannot tell what it had written before."""


SinkState: TypeAlias = int | tuple[int, int]
"""The offset to read back from, and the topic's partitions then; earlier releases kept the offset alone."""


@dataclass(frozen=True)
class KafkaSink(FixedPartitionedSink[Outgoing, SinkState]):
    """All partitions of one topic; the state of each is where a successor has to read back from."""

    client: Client = field(repr=False)
    """librdkafka options; they may hold secrets."""
    topic: str
    flow: str
    """Names the writer: one flow, one writer a partition."""
    delivery: Delivery = "transactional"
    read_back: bool = True
    """False for topics of which the newest message of a key is all that counts: the last may be written again."""
    timeout_s: float = 60.0
    """How long a broker may be away before the flow stops."""
    max_pending: int = 50_000
    """Messages that may wait for a partition's broker before the flow waits too."""
    is_alone: bool = True
    """Whether this process has all partitions: another of a cluster's does not know what this one reads back."""
    producer: Client = field(default_factory=dict, repr=False)
    """librdkafka options of the writers alone."""
    on_commit: Callable[[float], object] = lambda _seconds: None
    """Told how many seconds each transaction took to commit."""
    before_open: Callable[[], None] = nothing
    """Called before a partition's former writer is fenced; what it raises leaves that writer alone."""
    owed: dict[int, dict[int, int]] = field(default_factory=dict, repr=False)
    """By partition: what was read back and not repeated yet, hashes of ids to offsets. Shared, since a topic that has
    grown sends a key to another partition than the one that holds its record."""

    dealt: list[int] = field(default_factory=list, repr=False)
    """Among how many partitions the engine deals keys."""

    def list_parts(self) -> list[str]:
        """Name the partitions; zero-padded, since the engine orders names as text."""
        self.dealt[:] = [partitions_of(self.client, self.topic)]
        return [f"{partition:05d}" for partition in range(*self.dealt)]

    def part_fn(self, item_key: str) -> int:
        """Route a key as librdkafka's own `consistent` partitioner does (a small int, or the engine panics)."""
        return crc32(item_key.encode()) & 0x7FFFFFFF

    def build_part(self, step_id: str, for_part: str, resume_state: SinkState | None) -> "KafkaSinkPartition":  # noqa: ARG002
        """Fence the partition's former writer, then read back what it wrote after the snapshot."""
        return KafkaSinkPartition(self, int(for_part), resume_state)


class KafkaSinkPartition(StatefulSinkPartition[Outgoing, SinkState]):
    """Writes one partition.

    Parameters
    ----------
    clock : seconds that only rise.
    """

    def __init__(
        self, sink: KafkaSink, partition: int, resume: SinkState | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        sink.before_open()
        resume_at, n_then = resume if isinstance(resume, tuple) else (resume, None)
        self._n_partitions = len(sink.list_parts()) if not sink.dealt else sink.dealt[0]
        self._writer = _Writer(sink, partition)
        self._all_owed = sink.owed
        self._owed: dict[int, int] = {}
        self._clock = clock
        self._repeated_at = clock()
        end = resume_at or 0
        if sink.read_back:
            found = read_back(
                sink.client, sink.topic, partition, resume_at, sink.flow, max(sink.timeout_s, READ_BACK_S)
            )
            self._owed, end = found.own, found.end
        if self._owed and n_then not in (None, self._n_partitions) and not sink.is_alone:
            raise GrownTopicError(
                f"{sink.topic} has grown from {n_then} to {self._n_partitions} partitions, and the flow was not "
                "stopped cleanly before: what it had written since its last snapshot would be written twice. Start it "
                "once as one process (unset EDDY_CLUSTER__ADDRESSES) until its lag is gone, and stop it; then start "
                "all processes again"
            )
        sink.owed[partition] = self._owed
        self._writer.end_offset = end
        self._writer.start()

    def write_batch(self, values: list[Outgoing]) -> None:
        """Hand a batch to the writer; raises what went wrong with an earlier one."""
        if any(self._all_owed.values()):
            values = self._new_among(values)
        if values:
            self._writer.put(values)

    def _new_among(self, values: list[Outgoing]) -> list[Outgoing]:
        """Leave out what a predecessor has written already."""
        new = [value for value in values if not self._was_written(value)]
        now = self._clock()
        if len(new) < len(values):
            self._repeated_at = now
        elif now - self._repeated_at > REPEATED_S:
            self._owed.clear()
        return new

    def _was_written(self, value: Outgoing) -> bool:
        key = record_hash(value.record_id)
        return any(owed.pop(key, None) is not None for owed in self._all_owed.values())

    def snapshot(self) -> SinkState:
        """Wait until all that was handed over is committed; return where a successor has to read back from."""
        end = self._writer.drain()
        # What is owed stands in the order of its offsets.
        return min(end, next(iter(self._owed.values()), end)), self._n_partitions

    def close(self) -> None:
        """Write what is left, and leave; raises nothing."""
        self._writer.close()


class _Writer(threading.Thread):
    """Commits beside the flow: while one transaction commits, the next one gathers."""

    def __init__(self, sink: KafkaSink, partition: int) -> None:
        super().__init__(name=f"write-{sink.topic}-{partition}", daemon=True)
        self._sink = sink
        self._partition = partition
        self._where = f"{sink.topic}/{partition}"
        self._changed = threading.Condition()
        self._gathered: deque[list[Outgoing]] = deque()
        self._n_pending = 0
        self._closing = False
        self._failure: EddyError | None = None
        self._refused: KafkaError | None = None
        """Why the broker will never take a message of this transaction."""
        self.end_offset = 0
        options: dict[str, Option] = {
            "enable.idempotence": True, "linger.ms": 0, "acks": "all", "compression.type": "lz4",
        }  # fmt: skip
        if sink.delivery == "transactional":
            options["transactional.id"] = f"{sink.flow}-{sink.topic}-{partition}"
            options["transaction.timeout.ms"] = int(sink.timeout_s * 1_000)
        self._producer = Producer({**options, **sink.client, **sink.producer})
        if sink.delivery == "transactional":
            self._guard(lambda: self._producer.init_transactions(sink.timeout_s))

    def _guard(self, call: Callable[[], object]) -> None:
        """Turn a client's exception into one that says what to do."""
        try:
            call()
        except KafkaException as failure:
            raise self._explained(failure.args[0]) from failure

    def _explained(self, error: KafkaError) -> EddyError:
        if error.code() in FENCED:
            return FencedError(
                f"{self._where}: fenced. Another copy of the flow {self._sink.flow!r} has started and writes "
                "from now on; this one stops. Nothing was written twice and nothing is lost. Run one copy a flow, "
                "or let the copies share the users as one cluster (EDDY_CLUSTER__ADDRESSES)"
            )
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return DeliveryError(
                f"{self._where}: a message is larger than the topic takes. The flow stops before it loses one: raise "
                f"the limit (kafka-configs.sh --alter --entity-type topics --entity-name {self._sink.topic} "
                "--add-config max.message.bytes=1048588; above that EDDY_KAFKA__PRODUCER_OPTIONS has to say "
                "message.max.bytes too) and start again, it resumes from its last snapshot"
            )
        return DeliveryError(
            f"{self._where}: the broker did not take a message: {error.str()}. The flow stops before it loses one; "
            "fix the broker (`eddy doctor` says what is wrong) and start again, it resumes from its last snapshot"
        )

    def put(self, values: list[Outgoing]) -> None:
        with self._changed:
            while self._n_pending >= self._sink.max_pending and self._failure is None:
                self._changed.wait()
            self._raise_failure()
            self._gathered.append(values)
            self._n_pending += len(values)
            self._changed.notify_all()

    def drain(self) -> int:
        with self._changed:
            while self._n_pending and self._failure is None:
                self._changed.wait()
            self._raise_failure()
            return self.end_offset

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        # Never raises. The engine also closes partitions while it unwinds from another one's failure, where a second
        # would abort the process; in a clean stop it asks for a snapshot first, which raises what went wrong.
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.join(self._sink.timeout_s)

    def run(self) -> None:
        while True:
            with self._changed:
                while not self._gathered and not self._closing:
                    self._changed.wait()
                if not self._gathered:
                    return
                values = [value for batch in self._gathered for value in batch]
                self._gathered.clear()
            try:
                self._write(values)
            except KafkaException as failure:
                self._fail(self._explained(failure.args[0]))
                return
            except EddyError as failure:
                self._fail(failure)
                return
            with self._changed:
                self._n_pending -= len(values)
                self._changed.notify_all()

    def _fail(self, failure: EddyError) -> None:
        log.error("%s", failure)
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _write(self, values: list[Outgoing]) -> None:
        if self._sink.delivery == "idempotent":
            self._produce(values)
            if self._producer.flush(self._sink.timeout_s):
                raise self._explained(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001
            self._raise_failure()
            return
        deadline = time.monotonic() + self._sink.timeout_s
        while True:
            try:
                self._producer.begin_transaction()
                self._produce(values)
                began_at = time.monotonic()
                self._commit(deadline)
            except KafkaException as failure:
                error = failure.args[0]
                if self._refused is not None:  # no other try helps
                    raise self._explained(self._refused) from failure
                if not error.txn_requires_abort() or time.monotonic() > deadline:
                    raise
                log.warning("%s: transaction aborted and tried again: %s", self._where, error.str())
                self._producer.abort_transaction(self._sink.timeout_s)
            else:
                self._sink.on_commit(time.monotonic() - began_at)
                return

    def _commit(self, deadline: float) -> None:
        while True:
            try:
                self._producer.commit_transaction(self._sink.timeout_s)
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _produce(self, values: list[Outgoing]) -> None:
        produce, flow = self._producer.produce, (FLOW_HEADER, self._sink.flow.encode())
        for value in values:
            while True:
                try:
                    produce(
                        self._sink.topic, value.value, value.key, self._partition, self._delivered,
                        headers=[(ID_HEADER, value.record_id.encode()), flow],
                    )  # fmt: skip
                except BufferError:
                    self._producer.poll(0.1)
                else:
                    break
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.end_offset = (message.offset() or 0) + 1
        elif self._sink.delivery == "idempotent":
            self._failure = self._explained(error)
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused = error
