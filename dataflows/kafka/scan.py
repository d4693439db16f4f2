"""Reads what a topic holds now, once."""

import time
from collections.abc import Iterator
from typing import NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataflows.errors import EddyError
from dataflows.kafka.admin import bounds_of, partitions_of
from dataflows.records import Record

Option = str | int | float | bool


class ScanError(EddyError):
    """A topic cannot be read."""


def scan(client: dict[str, Option], topic: str, timeout_s: float = 30.0) -> Iterator[Record]:
    """Give a topic's committed records from its beginning to where each partition ends at the start of the scan.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    timeout_s : how long the broker may be silent.

    Raises
    ------
    TopicError : there is no such topic.
    ScanError : the topic cannot be read.
    """
    options: dict[str, Option] = {
        "group.id": "eddy-scan",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
    }
    partitions = range(partitions_of(client, topic))
    consumer = Consumer(client | options)
    try:
        ends = {p: bounds_of(consumer, topic, p, timeout_s)[1] for p in partitions}
        waiting = {p for p, end in ends.items() if end}
        consumer.assign([TopicPartition(topic, p, 0) for p in sorted(waiting)])
        heard_at = time.monotonic()
        while waiting:
            # It waits for so many messages, or as long as it is told: briefly, since the end is a message as well.
            for message in consumer.consume(1_000, 0.1):
                heard_at = time.monotonic()
                partition, offset = message.partition() or 0, message.offset() or 0
                ended = _is_end(message)
                read = not ended and message.error() is None
                if read and offset < ends[partition]:
                    yield Record(partition, offset, message.timestamp()[1], message.key(), message.value())
                # The last offset may be a transaction's marker, which is not given: then the end itself is told.
                if ended or (read and offset >= ends[partition] - 1):
                    waiting.discard(partition)
            if time.monotonic() - heard_at > timeout_s:
                _give_up(topic, timeout_s)
    except KafkaException as failure:
        raise ScanError(f"{topic}: cannot be read: {failure.args[0].str()}") from failure
    finally:
        consumer.close()


def _give_up(topic: str, timeout_s: float) -> NoReturn:
    raise ScanError(f"{topic}: no broker answered for {timeout_s:g} s; `eddy doctor` says what is wrong")


def _is_end(message: Message) -> bool:
    """Say whether this is no record but the end of its partition."""
    error = message.error()
    if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        return error is not None
    if error.retriable():
        return False
    raise KafkaException(error)
