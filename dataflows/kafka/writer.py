"""A plain writer of one topic, for producers on the platform's side of the contract: the demo, replays, tests."""

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client, Option


class WriteError(EddyError):
    """A message was not delivered."""


class KafkaWriter:
    """Writes one topic, each message acknowledged and none twice.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topic : where to write.
    timeout_s : how long the broker may be away; a message that waits longer is given up.
    """

    def __init__(self, client: Client, topic: str, timeout_s: float = 60.0) -> None:
        self._topic = topic
        self._timeout_s = timeout_s
        self._failure: KafkaError | None = None
        safe: dict[str, Option] = {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": int(timeout_s * 1_000),
            "log_level": 2,  # its complaints are raised, not printed
        }
        self._producer = Producer({**safe, **client})

    def write(self, key: str | bytes | None, value: bytes | None) -> None:
        """Hand a message over, and wait while the queue is full. A message without a value is a tombstone.

        Raises
        ------
        WriteError : an earlier message was not delivered, or this one can never be (it is too large).
        """
        while not self._handed_over(key, value):
            self._producer.poll(0.1)
        self._producer.poll(0)

    def _handed_over(self, key: str | bytes | None, value: bytes | None) -> bool:
        self._raise_failure()
        try:
            self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
        except BufferError:
            return False
        except KafkaException as error:
            raise WriteError(f"{self._topic}: a message cannot be sent: {error.args[0].str()}") from error
        return True

    def flush(self) -> None:
        """Wait until all is delivered.

        Raises
        ------
        WriteError : something was not.
        """
        waiting = self._producer.flush(self._timeout_s)
        self._raise_failure()
        if waiting:
            raise WriteError(f"{self._topic}: {waiting} messages were not delivered within {self._timeout_s:g} s")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        self._failure = self._failure or error

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise WriteError(f"{self._topic}: a message was not delivered: {self._failure.str()}")
