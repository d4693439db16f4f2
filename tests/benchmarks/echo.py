"""What Kafka alone takes: a loop that writes each event to `recommendations` as it was read, and does nothing else.

`python -m tests.benchmarks.echo transactional|idempotent` with the flow's own environment variables. It waits for one
message and takes along what lies behind it; transactional, that is one transaction. It runs until it is killed.
"""

import sys

from confluent_kafka import Producer, TopicPartition

from dataflows.kafka.admin import partitions_of
from dataflows.kafka.consumers import new_consumer
from dataflows.run import settings as configuration

BATCH, POLL_S, TIMEOUT_S = 1_000, 0.1, 60.0


def main() -> None:
    """Echo."""
    is_transactional = sys.argv[1] == "transactional"
    settings = configuration.load()
    client, prefix = settings.kafka.client(), settings.topics.prefix
    source, target = f"{prefix}events", f"{prefix}recommendations"
    consumer = new_consumer(client, f"{prefix}echo")
    consumer.assign([TopicPartition(source, partition, 0) for partition in range(partitions_of(client, source))])
    options = {**client, "enable.idempotence": True, "linger.ms": 0, "compression.type": "lz4"}
    producer = Producer(options | ({"transactional.id": f"{prefix}echo"} if is_transactional else {}))
    if is_transactional:
        producer.init_transactions(TIMEOUT_S)
    while True:
        first = consumer.poll(POLL_S)
        messages = [] if first is None else [first, *consumer.consume(BATCH - 1, 0)]
        messages = [message for message in messages if message.error() is None]
        if not messages:
            continue
        if is_transactional:
            producer.begin_transaction()
        for message in messages:
            producer.produce(target, message.value(), message.key(), message.partition())
        producer.poll(0)
        if is_transactional:
            producer.commit_transaction(TIMEOUT_S)


if __name__ == "__main__":
    main()
