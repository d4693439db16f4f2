"""What a resumed writer finds of its predecessor's: the messages that its partition holds since the snapshot."""

import time
from dataclasses import dataclass
from typing import cast

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.consumers import bounds_of, new_consumer, written_ends
from dataflows.kafka.owed import Owed

ID_HEADER = "id"
"""The header that holds a message's id."""
FLOW_HEADER = "flow"
"""The header that names the flow which wrote a message."""


class ReadBackError(EddyError):
    """A partition cannot be read back."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What a partition holds since a snapshot."""

    own: Owed
    """Its records, without those that other flows wrote."""
    end: int
    """The offset after the last record."""


def read_back(
    client: Client, topic: str, partition: int, resume_at: int | None, flow: str, timeout_s: float
) -> ReadBack:
    """Read what a partition holds from an offset on, up to what was written when this is called.

    Another flow's open transaction hides what lies behind it; it is waited for, until the broker ends it.

    Parameters
    ----------
    resume_at : the offset; none: from the partition's beginning.
    flow : whose records are looked for; also names the consumer group, which commits nothing.
    timeout_s : how long nothing may come; longer than any transaction may stay open.

    Raises
    ------
    ReadBackError : the partition cannot be read, or its end does not come nearer.
    """
    group = f"{flow}-read-back"
    place = (topic, partition)
    consumer = new_consumer(client, group)
    try:
        written_end = written_ends(client, group, [place], timeout_s)[place]
        first, _ = bounds_of(consumer, topic, partition, timeout_s)
        end = first if resume_at is None else max(first, resume_at)
        consumer.assign([TopicPartition(topic, partition, end)])
        own = Owed()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for message in consumer.consume(10_000, 0.1):
                offset = message.offset() or 0
                if not _is_end(message):
                    deadline = time.monotonic() + timeout_s
                    end = offset + 1
                    record_id, writer = _headers_of(message)
                    if writer in (flow, None):
                        own.add(record_id, offset)
                elif offset >= written_end:
                    return ReadBack(own, max(end, offset))
    except KafkaException as failure:
        raise ReadBackError(f"{topic}/{partition}: cannot be read back: {failure.args[0].str()}") from failure
    finally:
        consumer.close()
    raise ReadBackError(
        f"{topic}/{partition}: reading back made no progress for {timeout_s:.0f} s: the broker does not answer, or "
        "another writer's transaction has been open for so long"
    )


def is_untouched(client: Client, topic: str, partition: int, flow: str, timeout_s: float) -> bool:
    """Say whether nothing was ever written to a partition; where nobody answers, that it may have been."""
    try:
        return written_ends(client, f"{flow}-read-back", [(topic, partition)], timeout_s)[topic, partition] == 0
    except KafkaException:
        return False


def _is_end(message: Message) -> bool:
    """Say whether this is the partition's end in place of a message; raises what is neither."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
        raise KafkaException(error)
    return error is not None


def _headers_of(message: Message) -> tuple[str, str | None]:
    """Return a message's id and the flow that wrote it: empty and None where it does not say."""
    headers = dict(cast("list[tuple[str, bytes | None]]", message.headers() or []))
    record_id, writer = headers.get(ID_HEADER) or b"", headers.get(FLOW_HEADER)
    return record_id.decode(errors="replace"), None if writer is None else writer.decode(errors="replace")
