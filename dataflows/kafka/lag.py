"""How far a flow is behind: what its group has committed, beside what the topics hold."""

import logging
import threading
from collections.abc import Iterable
from contextlib import ExitStack, closing

from confluent_kafka import Consumer, KafkaException, TopicPartition

from dataflows.kafka.admin import Client, partitions_of
from dataflows.kafka.consumers import bounds_of
from dataflows.kafka.rights import source_group

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
LOOK_TIMEOUT_S = 5.0


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


class Lags:
    """How many events each flow has not committed yet, looked up again and again on a thread of its own.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    flows : whose groups are asked for.
    prefix : of the topics and of the groups.
    """

    def __init__(self, client: Client, flows: Iterable[str], prefix: str) -> None:
        self._client = client
        self._groups = {flow: source_group(flow, prefix) for flow in flows}
        self._topic = f"{prefix}events"
        self._closing = threading.Event()
        self.by_flow: dict[str, int | None] = dict.fromkeys(self._groups)
        """None where it is not known: no broker answered, or the door may not ask."""
        self._thread = threading.Thread(target=self._look, name="lag", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_TIMEOUT_S)

    def _look(self) -> None:
        """Look until the door closes; whatever goes wrong, the lag is not known meanwhile, and is looked up again."""
        told = ""
        while not self._closing.wait(LOOK_EVERY_S):
            try:
                self._look_while_it_lasts()
            except Exception as error:  # noqa: BLE001 - a thread that dies unseen would show the last lag for ever
                if str(error) != told:
                    log.warning("the flows' lag is not known: %s", error)
                told = str(error)
            self.by_flow = dict.fromkeys(self._groups)

    def _look_while_it_lasts(self) -> None:
        with ExitStack() as stack:
            lags = {
                flow: stack.enter_context(closing(GroupLag(self._client, group, [self._topic])))
                for flow, group in self._groups.items()
            }
            while not self._closing.wait(LOOK_EVERY_S):
                self.by_flow = {flow: _behind(lag) for flow, lag in lags.items()}


def _behind(lag: GroupLag) -> int | None:
    try:
        return sum(lag.by_partition(LOOK_TIMEOUT_S))
    except KafkaException:
        return None
