"""A writer of which there is one at a time: whoever opens it fences whoever had it before."""

import time
from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.errors import EddyError, FencedError
from dataflows.kafka.admin import Client
from dataflows.kafka.partition_writer import FENCED
from dataflows.kafka.writer import WriteError


class SoleWriter:
    """Writes messages of one topic together: all of them are there, or none is.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topic : where to write.
    name : the writer's, of which the cluster knows one at a time (a transactional id).
    who : the process, as a person calls it.
    timeout_s : how long the broker may be away.

    Raises
    ------
    WriteError : no broker answers, or it refuses the writer.
    """

    def __init__(self, client: Client, topic: str, name: str, who: str, timeout_s: float = 60.0) -> None:
        self._topic, self._who, self._timeout_s = topic, who, timeout_s
        self._failure: KafkaError | None = None
        options = {
            "transactional.id": name,
            "transaction.timeout.ms": int(timeout_s * 1_000),
            "linger.ms": 0,
            "log_level": 2,  # its complaints are raised, not printed
        }
        self._producer = Producer({**options, **client})
        try:
            self._producer.init_transactions(timeout_s)
        except KafkaException as failure:
            raise self._explained(failure.args[0]) from failure

    def write(self, messages: Iterable[tuple[str | bytes | None, bytes | None]]) -> None:
        """Write messages, each a key and a value; returns once they are there.

        Raises
        ------
        FencedError : another such writer has been opened since; nothing was written.
        WriteError : the broker did not take them; none is there.
        """
        written, deadline = list(messages), time.monotonic() + self._timeout_s
        while True:
            self._failure = None
            try:
                self._producer.begin_transaction()
                for key, value in written:
                    self._produce(key, value)
                self._commit(deadline)
            except KafkaException as failure:
                error = failure.args[0]
                if error.code() not in FENCED:
                    self._abort()
                # As where the broker has forgotten the writer, which was idle for a week.
                is_worth_a_try = error.txn_requires_abort() and self._failure is None
                if not is_worth_a_try or time.monotonic() > deadline:
                    raise self._explained(self._failure or error) from failure
            else:
                return

    def _produce(self, key: str | bytes | None, value: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _commit(self, deadline: float) -> None:
        while True:
            try:
                self._producer.commit_transaction(self._timeout_s)
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > deadline:
                    raise
            else:
                return

    def _abort(self) -> None:
        """Take back what was begun; where that fails as well, the broker does so when the transaction times out."""
        try:
            self._producer.abort_transaction(self._timeout_s)
        except KafkaException:
            return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        # What is purged was given up over another message's failure.
        if error is not None and error.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001
            self._failure = self._failure or error

    def _explained(self, error: KafkaError) -> EddyError:
        if error.code() in FENCED:
            return FencedError(
                f"{self._topic}: fenced. Another {self._who} has started and writes from now on; this one stops. "
                "Nothing was written by halves. Run one of them"
            )
        return WriteError(f"{self._topic}: nothing was written: {error.str()} (`eddy doctor` says what is wrong)")
