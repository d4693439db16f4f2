"""The recommend flow's core in a plain confluent-kafka loop: what `tests.benchmarks.e2e` measures the flow against.

It reads batches of 1,000, keeps users in a dict, writes slates by an idempotent producer, and promises nothing: what is
in memory at a crash is lost, and what was written since the last commit comes twice. It runs with the flow's own
environment variables until it is killed, and says behind each batch how many slates it has made in all, and how many
seconds each stage of computing took.
"""

import json
import sys
from collections import defaultdict

from confluent_kafka import Producer, TopicPartition

from dataflows.kafka.admin import partitions_of
from dataflows.kafka.consumers import new_consumer, record_of
from tests.benchmarks.core import Core

BATCH = 1_000


def main() -> None:
    """Answer what comes."""
    core = Core()
    events = core.topic("events")
    users = defaultdict(core.user)
    consumer = new_consumer(core.client, "plain-loop")
    consumer.assign([TopicPartition(events, partition, 0) for partition in range(partitions_of(core.client, events))])
    producer = Producer({**core.client, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4"})
    n_slates = 0
    while True:
        messages = [message for message in consumer.consume(BATCH, 0.01) if message.error() is None]
        slates = core.answer([record_of(message) for message in messages], users.__getitem__)
        if slates:
            n_slates += len(slates)
            sys.stdout.write(json.dumps([n_slates, core.stages]) + "\n")
            sys.stdout.flush()
        for user_id, value in slates:
            producer.produce(core.topic("recommendations"), value, user_id)
        producer.poll(0)


if __name__ == "__main__":
    main()
