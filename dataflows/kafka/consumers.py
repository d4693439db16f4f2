"""How every consumer is set up, and what is made of the messages that it gives."""

import time
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataflows.kafka.admin import Client
from dataflows.records import Record

Place: TypeAlias = tuple[str, int]
"""A topic and a partition."""

NO_LEADER = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, KafkaError.REPLICA_NOT_AVAILABLE)
"""What a cluster answers while a partition is made or moves."""
PARTITION_END = KafkaError._PARTITION_EOF  # noqa: SLF001
"""What a consumer reports in place of a message where it has read a partition to its end."""
QUEUE_KB = 16_384
"""What a client may hold of a partition before it is asked for, unless the settings say otherwise; librdkafka's default
is four times as much."""
HARMLESS = (PARTITION_END, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)  # noqa: SLF001
"""An end, and what a client reports while it reconnects by itself."""


def new_consumer(
    client: Client, group: str, *, reset: Literal["earliest", "error"] = "earliest", committed_only: bool = True
) -> Consumer:
    """Build a consumer whose partitions are assigned by hand; it commits nothing by itself and reports ends.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    group : under which the cluster knows it, and to which offsets can be committed.
    reset : where to go on from an offset that the log does not hold; `error` reports it instead.
    committed_only : leave out aborted transactions, whatever `client` says of the isolation level.
    """
    options = {
        "queued.max.messages.kbytes": QUEUE_KB,
        "log_level": 2,  # it would say twenty times a second that nobody answers; whoever waits says so once
        **client,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": reset,
    }
    if committed_only:
        options["isolation.level"] = "read_committed"
    return Consumer(options)


def behind_of(consumer: Consumer, read_until: Mapping[Place, int]) -> list[tuple[tuple[str, str], float]]:
    """Return how many offsets lie after what has been handed over, by topic and partition, as the client knows.

    What is not known yet, or not any more, is left out. A client lets in one thread at a time: beside one that waits
    for messages again and again nobody comes in for minutes, so ask on that thread, or beside one that rests.
    """
    found: list[tuple[tuple[str, str], float]] = []
    for (topic, partition), next_offset in read_until.items():
        try:
            bounds = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
        except (KafkaException, RuntimeError):  # it is being closed
            break
        if bounds and bounds[1] >= 0:
            found.append(((topic, str(partition)), float(max(0, bounds[1] - next_offset))))
    return found


def written_ends(client: Client, group: str, places: Iterable[Place], timeout_s: float = 30.0) -> dict[Place, int]:
    """Return the offset after the last record of each partition, committed or not.

    A consumer of committed records sees a partition end before the first open transaction, whoever holds it open:
    what lies behind that is hidden from it, not absent.

    Raises
    ------
    KafkaException : no leader answered in time.
    """
    options = {"group.id": group, "enable.auto.commit": False, "isolation.level": "read_uncommitted"}
    consumer = Consumer({**client, **options})
    try:
        return {place: bounds_of(consumer, *place, timeout_s)[1] for place in places}
    finally:
        consumer.close()


def bounds_of(consumer: Consumer, topic: str, partition: int, timeout_s: float = 30.0) -> tuple[int, int]:
    """Return a partition's first offset and the one after its last.

    A partition that was just made, or moves between brokers, has no leader for a moment: then it asks again.

    Raises
    ------
    KafkaException : no leader answered in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout_s)
        except KafkaException as failure:
            if failure.args[0].code() not in NO_LEADER or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return first, end


def record_of(message: Message) -> Record:
    """Take what the flows need of a message."""
    return Record(
        message.partition() or 0, message.offset() or 0, message.timestamp()[1], message.key(), message.value()
    )


def size_of(record: Record) -> int:
    """Return about how many bytes a record takes here."""
    return len(record.key or b"") + len(record.value or b"")


def raise_unless_harmless(error: KafkaError) -> None:
    """Raise what a consumer reported in place of a message, unless nothing is wrong or it recovers by itself.

    Raises
    ------
    KafkaException : with that error.
    """
    if not error.retriable() and error.code() not in HARMLESS:
        raise KafkaException(error)
