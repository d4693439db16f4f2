"""Stops that are shared: a process of a cluster does not drain alone, so one that has to stop tells the others."""

import threading
import time
from collections.abc import Callable

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from dataflows.kafka.admin import bounds_of

Option = str | int | float | bool


class SharedStop:
    """Passes stops between the processes of one flow by the `control` topic.

    Parameters
    ----------
    client : librdkafka options; they may hold secrets.
    topic : the control topic, of one partition.
    flow : stops of other flows are not ours.
    on_stop : called once, from a thread of its own, when another process stops.
    """

    def __init__(self, client: dict[str, Option], topic: str, flow: str, on_stop: Callable[[], None]) -> None:
        self._client = client
        self._topic = topic
        self._flow = flow
        self._on_stop = on_stop
        self._closing = False
        self._consumer = Consumer(client | {"group.id": f"{flow}-control", "enable.auto.commit": False})
        self._consumer.assign([TopicPartition(topic, 0, bounds_of(self._consumer, topic, 0)[1])])
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)
        self._thread.start()

    def announce(self) -> None:
        """Tell the other processes to stop as well."""
        producer = Producer(self._client)
        producer.produce(self._topic, orjson.dumps({"stop": self._flow, "at": int(time.time() * 1_000)}), self._flow)
        producer.flush(10)

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        self._thread.join(5)

    def _listen(self) -> None:
        try:
            while not self._closing:
                message = self._consumer.poll(0.2)
                if message is not None and message.error() is None and message.key() == self._flow.encode():
                    self._on_stop()
                    return
        except KafkaException:
            return
        finally:
            self._consumer.close()
