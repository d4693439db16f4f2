"""How far a flow is behind: what its group has committed, beside what the topics hold."""

from collections.abc import Iterable

from confluent_kafka import Consumer, TopicPartition

from dataflows.kafka.admin import Client, partitions_of
from dataflows.kafka.consumers import bounds_of


class GroupLag:
    """The messages of some topics that lie after a group's committed offsets.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topics : their names.
    """

    def __init__(self, client: Client, group: str, topics: Iterable[str]) -> None:
        self._places = [(topic, part) for topic in topics for part in range(partitions_of(client, topic))]
        self._consumer = Consumer({**client, "group.id": group, "enable.auto.commit": False})

    def by_partition(self, timeout_s: float = 30.0) -> list[int]:
        """Return how many offsets each partition is behind.

        A transaction's marker takes an offset too: a topic that is written in transactions is read to its end at 1.

        Raises
        ------
        KafkaException : the broker did not answer in time.
        """
        committed = self._consumer.committed([TopicPartition(*place) for place in self._places], timeout=timeout_s)
        bounds = [bounds_of(self._consumer, part.topic, part.partition, timeout_s) for part in committed]
        # Without a commit the offset is negative.
        return [end - max(first, part.offset) for part, (first, end) in zip(committed, bounds, strict=True)]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
