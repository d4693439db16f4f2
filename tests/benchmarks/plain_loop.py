"""The recommend flow's core in a plain confluent-kafka loop: what `tests.benchmarks.e2e` measures the flow against.

It reads batches of 1,000, keeps users in a dict, writes slates by an idempotent producer, and promises nothing: what is
in memory at a crash is lost, and what was written since the last commit comes twice. It is started as a process with
the flow's own environment variables, and says at its end how long it computed.
"""

import os
import sys
from collections import Counter, defaultdict
from time import perf_counter

from confluent_kafka import Producer, TopicPartition

from dataflows.codecs import encode, event_decoder
from dataflows.kafka.admin import Client, partitions_of
from dataflows.kafka.consumers import new_consumer, record_of
from dataflows.kafka.reader import scan
from dataflows.run import settings as configuration
from dataflows.steps.profile import profile_step
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import DeadLetter
from models.serving.recommender import Recommender
from models.user.profile import EventOutcome
from models.user.state import UserState
from tests.benchmarks.world import clock

BATCH = 1_000


def main() -> None:
    """Answer as many events as the command line says, then print seconds of compute."""
    n_events = int(sys.argv[1])
    settings = configuration.load()
    client = settings.kafka.client()
    topic = f"{settings.topics.prefix}events"
    table = _table(client, settings.topics.prefix)
    recommender = Recommender(table, None, n_threads=settings.n_threads)
    recommender.warm_up()
    decode = event_decoder(settings.events)
    step = profile_step(settings, Experiments(), table, clock, Counter())
    users: defaultdict[str, UserState] = defaultdict(lambda: UserState(step.config, step.events))
    consumer = new_consumer(client, "plain-loop")
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions_of(client, topic))])
    producer = Producer({**client, "enable.idempotence": True, "linger.ms": 5, "compression.type": "lz4"})
    n_read, computed_s = 0, 0.0
    while n_read < n_events:
        messages = [message for message in consumer.consume(BATCH, 0.01) if message.error() is None]
        began = perf_counter()
        n_read += len(messages)
        queries = []
        for event in decode([record_of(message) for message in messages]):
            if isinstance(event, DeadLetter):
                raise SystemExit(f"an event is refused: {event}")
            user = users[event.user_id]
            if user.apply(event, table) is EventOutcome.APPLIED and user.is_due(event, 0):
                queries.append(user.due(event, settings.strategy))
        encoded = [(slate.user_id, encode(slate)) for slate in recommender.recommend(queries)]
        computed_s += perf_counter() - began
        for user_id, value in encoded:
            producer.produce(f"{settings.topics.prefix}recommendations", value, user_id)
        producer.poll(0)
    producer.flush()
    sys.stdout.write(f"{computed_s}\n")
    sys.stdout.flush()
    os._exit(0)  # a consumer's threads take seconds to end, and nobody waits for them


def _table(client: Client, prefix: str) -> ItemTable:
    rows = list(scan(client, f"{prefix}model-updates"))
    table = ItemTable(int(clock().timestamp() * 1_000))
    table.apply_rows([record.key or b"" for record in rows], [record.value for record in rows])
    return table


if __name__ == "__main__":
    main()
