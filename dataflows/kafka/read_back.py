"""What a resumed writer finds of its predecessor's: the messages that its partition holds since the snapshot."""

import time
from typing import cast

import xxhash
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.consumers import bounds_of, new_consumer

ID_HEADER = "id"
"""The header that holds a message's id."""


class ReadBackError(EddyError):
    """A partition cannot be read back."""


def record_hash(record_id: str) -> int:
    """Hash a record's id: what a writer remembers of each message it read back."""
    return xxhash.xxh3_64_intdigest(record_id.encode())


def read_back(
    client: Client, topic: str, partition: int, resume_at: int | None, flow: str, timeout_s: float
) -> tuple[set[int], int]:
    """Read what a partition holds from an offset on, as far as it is committed.

    Parameters
    ----------
    resume_at : the offset; none: from the partition's beginning.
    flow : names the consumer group, which commits nothing.
    timeout_s : how long the broker may be silent.

    Returns
    -------
    The hashes of its records' ids, and its end offset.

    Raises
    ------
    ReadBackError : the partition cannot be read, or its end does not come nearer.
    """
    consumer = new_consumer(client, f"{flow}-read-back")
    try:
        first, _ = bounds_of(consumer, topic, partition, timeout_s)
        end = first if resume_at is None else max(first, resume_at)
        consumer.assign([TopicPartition(topic, partition, end)])
        written: set[int] = set()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.1):
                if _is_end(message):
                    return written, max(end, message.offset() or 0)
                deadline = time.monotonic() + timeout_s
                end = (message.offset() or 0) + 1
                written.add(record_hash(_id_of(message)))
    except KafkaException as failure:
        raise ReadBackError(f"{topic}/{partition}: cannot be read back: {failure.args[0].str()}") from failure
    finally:
        consumer.close()
    raise ReadBackError(f"{topic}/{partition}: reading back made no progress for {timeout_s:.0f} s")


def _is_end(message: Message) -> bool:
    """Say whether this is the partition's end in place of a message; raises what is neither."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        raise KafkaException(error)
    return error is not None


def _id_of(message: Message) -> str:
    """Return the id in a message's header; empty for a message that is not Eddy's."""
    headers = cast("list[tuple[str, bytes]]", message.headers() or [])
    return next((value.decode() for name, value in headers if name == ID_HEADER), "")
