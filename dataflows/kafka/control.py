"""Stops that are shared: a process of a cluster does not drain alone, so one that has to stop tells the others."""

import time
from collections.abc import Callable

import orjson
from confluent_kafka import Producer

from dataflows.errors import EddyError
from dataflows.kafka.admin import Client
from dataflows.kafka.reader import Batch, Follower, KafkaReader


class SharedStop:
    """Passes stops between the processes of one flow by the `control` topic.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topic : the control topic, of one partition.
    flow : stops of other flows are not ours.
    group : under which the cluster knows the reader.
    on_stop : called from a thread of its own when a process of the flow stops.
    on_failure : given what ended that thread, on it.
    """

    def __init__(
        self,
        client: Client,
        topic: str,
        flow: str,
        group: str,
        on_stop: Callable[[], None],
        on_failure: Callable[[EddyError], None],
    ) -> None:
        self._client = client
        self._topic = topic
        self._flow = flow
        self._on_stop = on_stop
        reader = KafkaReader(client, [topic], group, start="latest")
        self._follower = Follower(reader, self._take, "control", on_failure)

    def announce(self) -> None:
        """Tell the other processes to stop as well."""
        producer = Producer(dict(self._client))
        producer.produce(self._topic, orjson.dumps({"stop": self._flow, "at": int(time.time() * 1_000)}), self._flow)
        producer.flush(10)

    def close(self) -> None:
        """Stop listening."""
        self._follower.close()

    def _take(self, batches: list[Batch]) -> None:
        if any(record.key == self._flow.encode() for batch in batches for record in batch.records):
            self._on_stop()
