"""A partitioned Kafka sink with one fenced writer a partition: no message is lost, none is written twice.

The snapshot of a partition is the offset from which a successor has to read back. A resumed writer first fences its
predecessor, then reads its own partition back from that offset and drops whatever the flow emits again. As long as the
flow has not repeated all that was read back, the snapshot stays before the first record that it still owes: a flow
that is stopped while it repeats is repeated again from the same place.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias
from zlib import crc32

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import partitions_of
from dataflows.kafka.owed import Owed, record_hash
from dataflows.kafka.partition_writer import Destination, PartitionWriter
from dataflows.kafka.read_back import is_untouched, read_back
from dataflows.records import Outgoing

REPEATED_S = 600.0
"""What was read back and is not repeated for so long, while the flow writes other records, is forgotten."""

MAX_AHEAD = 32
"""Partitions of a topic that are opened ahead, ten file handles each with three brokers; the others are when the first
message comes to them."""
READ_BACK_S = 90.0
"""How long reading back waits for what an open transaction hides: longer than a broker lets one stay open."""


def nothing() -> None:
    """Let a partition be opened."""


class GrownTopicError(EddyError):
    """An output topic has grown, and a cluster cannot tell what it had written before."""


SinkState: TypeAlias = int | tuple[int, int]
"""The offset to read back from, and the topic's partitions then; earlier releases kept the offset alone."""


@dataclass(frozen=True)
class KafkaSink(Destination, FixedPartitionedSink[Outgoing, SinkState]):
    """All partitions of one topic; the state of each is where a successor has to read back from."""

    read_back: bool = True
    """False for topics of which the newest message of a key is all that counts: the last may be written again."""
    process: int = 0
    """Which process this is, of a cluster that shares the partitions."""
    n_processes: int = 1
    before_open: Callable[[], None] = nothing
    """Called before a partition's former writer is fenced; what it raises leaves that writer alone."""
    owed: dict[int, Owed] = field(default_factory=dict, repr=False)
    """By partition: what was read back and not repeated yet. Shared, since a topic that has grown sends a key to
    another partition than the one that holds its record."""

    dealt: list[int] = field(default_factory=list, repr=False)
    """Among how many partitions keys are dealt, by all processes."""
    opened: "dict[int, Future[Opened]]" = field(default_factory=dict, repr=False)
    """What is opened ahead, by partition."""

    def list_parts(self) -> list[str]:
        """Name this process's partitions, zero-padded, since the engine orders names as text; begin to open them.

        The engine builds a partition when the first message comes to it, and everything waits meanwhile: most of a
        second for a new transactional writer, partition after partition. So all are opened at once, beside the flow,
        as soon as it is laid out. Of a cluster each process names every n-th alone, so that no other is given them.
        """
        self.dealt[:] = [partitions_of(self.client, self.topic)]
        own = range(self.process, self.dealt[0], self.n_processes)
        if not self.opened:
            self.before_open()
            ahead = own[:MAX_AHEAD]
            self.opened.update((partition, Future()) for partition in ahead)
            for partition in ahead:
                threading.Thread(target=self._open_ahead, args=(partition,), daemon=True).start()
        return [f"{partition:05d}" for partition in own]

    def _open_ahead(self, partition: int) -> None:
        future = self.opened[partition]
        try:
            self.before_open()  # once more: this process may have slept
            future.set_result(self._open(partition))
        except Exception as error:  # noqa: BLE001 - raised where the engine builds the partition
            future.set_exception(error)

    def _open(self, partition: int) -> "Opened":
        """Fence a partition's former writer, and look whether there is anything to read back."""
        writer = PartitionWriter(self, partition)
        return writer, self.read_back and is_untouched(self.client, self.topic, partition, self.flow, self.timeout_s)

    def take(self, partition: int) -> "Opened":
        """Return a partition's writer, opened ahead or now, and whether the partition was untouched then.

        Raises
        ------
        FencedError : another copy of the flow has started.
        DeliveryError : the broker does not answer, or refuses the writer.
        """
        ahead = self.opened.get(partition)
        return self._open(partition) if ahead is None else ahead.result()

    def part_fn(self, item_key: str) -> int:
        """Route a key as librdkafka's own `consistent` partitioner does (a small int, or the engine panics)."""
        return crc32(item_key.encode()) & 0x7FFFFFFF

    def build_part(self, step_id: str, for_part: str, resume_state: SinkState | None) -> "KafkaSinkPartition":  # noqa: ARG002
        """Fence the partition's former writer, then read back what it wrote after the snapshot."""
        return KafkaSinkPartition(self, int(for_part), resume_state)


Opened: TypeAlias = tuple[PartitionWriter, bool]
"""A partition's writer, and whether nothing had ever been written to the partition when it was made."""


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
        self._n_partitions = sink.dealt[0] if sink.dealt else partitions_of(sink.client, sink.topic)
        self._writer, is_untouched = sink.take(partition)
        self._all_owed = sink.owed
        self._owed = Owed()
        self._clock = clock
        self._repeated_at = clock()
        end = resume_at or 0
        if sink.read_back and not is_untouched:
            found = read_back(
                sink.client, sink.topic, partition, resume_at, sink.flow, max(sink.timeout_s, READ_BACK_S)
            )
            self._owed, end = found.own, found.end
        if self._owed and n_then not in (None, self._n_partitions) and sink.n_processes > 1:
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
        return any(owed.take(key) for owed in self._all_owed.values())

    def snapshot(self) -> SinkState:
        """Wait until all that was handed over is committed; return where a successor has to read back from."""
        end = self._writer.drain()
        return min(end, self._owed.first(end)), self._n_partitions

    def close(self) -> None:
        """Write what is left, and leave; raises nothing."""
        self._writer.close()
