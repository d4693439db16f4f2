"""A plain reader of whole topics, for consumers on this side of the contract: the demo, tools, tests."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from dataflows.kafka.admin import partitions_of
from dataflows.records import Record

Option = str | int | float | bool


class KafkaReader:
    """Reads topics from their beginning, only what is committed.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topics : names; every partition of each is read.
    """

    def __init__(self, client: dict[str, Option], topics: list[str]) -> None:
        self._consumer = Consumer(
            client
            | {
                "group.id": "eddy-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, p, 0) for topic in topics for p in range(partitions_of(client, topic))]
        )

    def poll(self, timeout_s: float) -> list[tuple[str, Record]]:
        """Return what has arrived, by topic, after at most `timeout_s`.

        Raises
        ------
        KafkaException : the topics cannot be read.
        """
        read = []
        for message in self._consumer.consume(500, timeout_s):
            error = message.error()
            if error is None:
                record = Record(
                    message.partition() or 0,
                    message.offset() or 0,
                    message.timestamp()[1],
                    message.key(),
                    message.value(),
                )
                read.append((message.topic() or "", record))
            elif not error.retriable() and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
                raise KafkaException(error)
        return read

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
