"""A writer whose messages are acknowledged one by one, to whoever awaits them."""

import asyncio
import threading
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataflows.kafka.admin import Client, Option
from dataflows.kafka.writer import WriteError


class AcknowledgedWriter:
    """Writes to any topic from an event loop; a thread of its own collects the acknowledgements.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    timeout_s : how long a message may wait for its broker.
    """

    def __init__(self, client: Client, timeout_s: float = 10.0) -> None:
        options: dict[str, Option] = {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 0,
            "message.timeout.ms": int(timeout_s * 1_000),
            "log_level": 2,  # its complaints are raised, not printed
        }
        self._producer = Producer({**options, **client})
        self._closing = False
        self._thread = threading.Thread(target=self._poll, name="acknowledgements", daemon=True)
        self._thread.start()

    async def write(self, topic: str, key: str, value: bytes | None) -> None:
        """Write a message, and return once all replicas have it.

        Raises
        ------
        WriteError : it was not delivered; the text says why.
        """
        loop = asyncio.get_running_loop()
        delivered: asyncio.Future[None] = loop.create_future()
        try:
            self._producer.produce(topic, value, key, on_delivery=partial(_settle, loop, delivered))
        except (BufferError, KafkaException) as error:
            raise WriteError(f"{topic}: a message cannot be sent: {error}") from error
        try:
            await delivered
        except KafkaException as error:
            raise WriteError(f"{topic}: a message was not delivered: {error.args[0].str()}") from error

    def _poll(self) -> None:
        while not self._closing:
            self._producer.poll(0.1)

    def close(self) -> None:
        """Wait for what is on its way, and leave."""
        self._closing = True
        self._thread.join(10)
        self._producer.flush(5.0)


def _settle(
    loop: asyncio.AbstractEventLoop, delivered: "asyncio.Future[None]", error: KafkaError | None, _message: Message
) -> None:
    def settle() -> None:
        if delivered.done():
            return  # nobody waits any more
        if error is None:
            delivered.set_result(None)
        else:
            delivered.set_exception(KafkaException(error))

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)
