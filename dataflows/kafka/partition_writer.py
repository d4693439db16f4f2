"""The one writer of a topic's partition: a thread that writes in transactions what the flow hands over, in order."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.errors import EddyError, FencedError
from dataflows.kafka.admin import Client, Option
from dataflows.kafka.read_back import FLOW_HEADER, ID_HEADER
from dataflows.records import Outgoing

Delivery = Literal["transactional", "idempotent"]

FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED)  # noqa: SLF001

log = logging.getLogger(__name__)


class DeliveryError(EddyError):
    """The broker did not take a message."""


@dataclass(frozen=True)
class Destination:
    """A topic, who writes it and how."""

    client: Client = field(repr=False)
    """librdkafka options; they may hold secrets."""
    topic: str
    flow: str
    """Names the writer: one flow, one writer a partition."""
    delivery: Delivery = "transactional"
    timeout_s: float = 60.0
    """How long a broker may be away before the flow stops."""
    max_pending: int = 50_000
    """Messages that may wait for a partition's broker before the flow waits too."""
    producer: Client = field(default_factory=dict, repr=False)
    """librdkafka options of the writers alone."""
    on_commit: Callable[[float], object] = lambda _seconds: None
    """Told how many seconds each transaction took to commit."""


class PartitionWriter(threading.Thread):
    """Commits beside the flow: while one transaction commits, the next one gathers.

    To make one fences the partition's former writer; to start it lets it write.

    Raises
    ------
    FencedError : another copy of the flow has started meanwhile.
    DeliveryError : the broker does not answer, or refuses the writer.
    """

    def __init__(self, destination: Destination, partition: int) -> None:
        super().__init__(name=f"write-{destination.topic}-{partition}", daemon=True)
        self._destination = destination
        self._partition = partition
        self._where = f"{destination.topic}/{partition}"
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
        if destination.delivery == "transactional":
            options["transactional.id"] = f"{destination.flow}-{destination.topic}-{partition}"
            options["transaction.timeout.ms"] = int(destination.timeout_s * 1_000)
        self._producer = Producer({**options, **destination.client, **destination.producer})
        if destination.delivery == "transactional":
            self._guard(lambda: self._producer.init_transactions(destination.timeout_s))

    def _guard(self, call: Callable[[], object]) -> None:
        """Turn a client's exception into one that says what to do."""
        try:
            call()
        except KafkaException as failure:
            raise self._explained(failure.args[0]) from failure

    def _explained(self, error: KafkaError) -> EddyError:
        if error.code() in FENCED:
            return FencedError(
                f"{self._where}: fenced. Another copy of the flow {self._destination.flow!r} has started and writes "
                "from now on; this one stops. Nothing was written twice and nothing is lost. Run one copy a flow, "
                "or let the copies share the users as one cluster (EDDY_CLUSTER__ADDRESSES)"
            )
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return DeliveryError(
                f"{self._where}: a message is larger than the topic takes. The flow stops before it loses one: raise "
                f"the limit (kafka-configs.sh --alter --entity-type topics --entity-name {self._destination.topic} "
                "--add-config max.message.bytes=1048588; above that EDDY_KAFKA__PRODUCER_OPTIONS has to say "
                "message.max.bytes too) and start again, it resumes from its last snapshot"
            )
        return DeliveryError(
            f"{self._where}: the broker did not take a message: {error.str()}. The flow stops before it loses one; "
            "fix the broker (`eddy doctor` says what is wrong) and start again, it resumes from its last snapshot"
        )

    def put(self, values: list[Outgoing]) -> None:
        """Hand messages over; waits where too many of them wait already.

        Raises
        ------
        EddyError : what went wrong with earlier ones.
        """
        with self._changed:
            while self._n_pending >= self._destination.max_pending and self._failure is None:
                self._changed.wait()
            self._raise_failure()
            self._gathered.append(values)
            self._n_pending += len(values)
            self._changed.notify_all()

    def drain(self) -> int:
        """Wait until all is committed; returns the offset after the last of it.

        Raises
        ------
        EddyError : what went wrong.
        """
        with self._changed:
            while self._n_pending and self._failure is None:
                self._changed.wait()
            self._raise_failure()
            return self.end_offset

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Write what is left, and end; raises nothing."""
        # The engine also closes partitions while it unwinds from another one's failure, where a second
        # would abort the process; in a clean stop it asks for a snapshot first, which raises what went wrong.
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self.join(self._destination.timeout_s)

    def run(self) -> None:
        """Write what has gathered, again and again."""
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
        if self._destination.delivery == "idempotent":
            self._produce(values)
            if self._producer.flush(self._destination.timeout_s):
                raise self._explained(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001
            self._raise_failure()
            return
        deadline = time.monotonic() + self._destination.timeout_s
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
                self._producer.abort_transaction(self._destination.timeout_s)
            else:
                self._destination.on_commit(time.monotonic() - began_at)
                return

    def _commit(self, deadline: float) -> None:
        while True:
            try:
                self._producer.commit_transaction(self._destination.timeout_s)
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _produce(self, values: list[Outgoing]) -> None:
        produce, flow = self._producer.produce, (FLOW_HEADER, self._destination.flow.encode())
        for value in values:
            while True:
                try:
                    produce(
                        self._destination.topic, value.value, value.key, self._partition, self._delivered,
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
        elif self._destination.delivery == "idempotent":
            self._failure = self._explained(error)
        elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._refused = error
