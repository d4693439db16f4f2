"""Serves slates from the topic alone: no door, no other store. Copy it, and change what you like.

`recommendations` is compacted by user, so whoever reads it from its beginning has each user's newest slate; a message
without a value says that a user was erased. To read one twice changes nothing. What people see and do goes back as
events that name the slate: so experiments and rankers know what came of it.
"""

import json
import threading
import time
import uuid
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

OLDEST_FIRST, COMMITTED = "earliest", "read_committed"


class Slates:
    """Follows `recommendations` in a thread of its own; `of` gives a user's newest slate.

    Parameters
    ----------
    servers : of Kafka, `host:port` separated by commas.
    prefix : EDDY_TOPICS__PREFIX of the installation.
    """

    def __init__(self, servers: str, prefix: str = "") -> None:
        self.topic = f"{prefix}recommendations"
        self._events = f"{prefix}events"
        self._newest: dict[str, dict[str, Any]] = {}
        self._client = {"bootstrap.servers": servers}
        self._producer = Producer({**self._client, "enable.idempotence": True, "acks": "all"})
        self._closing = threading.Event()
        self.is_complete = threading.Event()
        """Set once all that the topic held at the start is known: serve from then on."""
        self._thread = threading.Thread(target=self._follow, name="slates", daemon=True)
        self._thread.start()

    def of(self, user_id: str) -> dict[str, Any] | None:
        """Return a user's newest slate; None where there is none, or the user was erased."""
        return self._newest.get(user_id)

    def shown(self, slate: dict[str, Any], item: dict[str, Any]) -> None:
        """Say that an item of a slate was on the screen."""
        self._tell("impression", slate, item)

    def clicked(self, slate: dict[str, Any], item: dict[str, Any]) -> None:
        """Say that it was clicked."""
        self._tell("click", slate, item)

    def close(self) -> None:
        """Deliver what was said, and stop."""
        self._producer.flush(30)
        self._closing.set()
        self._thread.join()

    def _tell(self, event_type: str, slate: dict[str, Any], item: dict[str, Any]) -> None:
        event = {
            "event_id": uuid.uuid4().hex,
            "user_id": slate["user_id"],
            "item_id": item["item_id"],
            "event_type": event_type,
            "timestamp": int(time.time() * 1_000),
            "recommendation_id": slate["recommendation_id"],
            "position": item["position"],
        }
        # By the user's id as key: so their messages stay in order.
        self._producer.produce(self._events, json.dumps(event), slate["user_id"])
        self._producer.poll(0)

    def _follow(self) -> None:
        # Each process reads everything, so no partitions are shared and nothing is committed.
        consumer = Consumer({
            **self._client, "group.id": f"slates-{uuid.uuid4().hex}", "enable.auto.commit": False,
            "auto.offset.reset": OLDEST_FIRST, "isolation.level": COMMITTED,
        })  # fmt: skip
        partitions = consumer.list_topics(self.topic, 30).topics[self.topic].partitions
        places = [TopicPartition(self.topic, partition, 0) for partition in partitions]
        ends = {place.partition: consumer.get_watermark_offsets(place, 30)[1] for place in places}
        consumer.assign([TopicPartition(self.topic, partition, -2) for partition in partitions])  # -2: the beginning
        while not self._closing.is_set():
            for message in consumer.consume(1_000, 0.05):
                if message.error() is None:
                    self._take(message.key(), message.value())
            at = {place.partition: place.offset for place in consumer.position(places)}
            # Before anything of a partition is read its position is below 0.
            if all(at[partition] >= end or end == 0 for partition, end in ends.items()):
                self.is_complete.set()
        consumer.close()

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        user_id = (key or b"").decode()
        if value is None:
            self._newest.pop(user_id, None)
        else:
            self._newest[user_id] = json.loads(value)
