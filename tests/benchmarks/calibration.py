"""A yardstick: what this machine does at this hour, so that figures of different days can be compared.

The work is fixed and has nothing to do with Eddy's own code.
"""

from collections.abc import Callable
from contextlib import closing
from statistics import median
from time import perf_counter

import numpy as np
import orjson

from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.reader import KafkaReader
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import Topic

TOPIC = "yardstick"
N_TRIPS = 200
GATHER_BYTES = 256 * 1_024 * 1_024


def calibrate() -> dict[str, float]:
    """Time a pure Python loop, a random gather over 256 MiB, and JSON there and back; the best of three.

    Returns
    -------
    Milliseconds for each: a loop of a million additions; a million random reads of 8 bytes; a message of 5 KB written
    and read a thousand times.
    """
    big = np.arange(GATHER_BYTES // 8)
    places = np.random.default_rng(0).integers(0, len(big), 1_000_000)
    message = {"items": [{"item_id": f"i-{i}", "features": [i / 7] * 47} for i in range(10)]}

    def loop() -> None:
        total = 0
        for i in range(1_000_000):
            total += i

    def gather() -> None:
        big[places].sum()

    def json() -> None:
        for _ in range(1_000):
            orjson.loads(orjson.dumps(message))

    return {f"{work.__name__}_ms": _best(work) for work in (loop, gather, json)}


def round_trip_ms(client: Client) -> float:
    """Write a message and read it, one after the other; the median time in milliseconds."""
    create_topics(client, [Topic(TOPIC, "none", "text", "platform", "delete")], 1)
    writer, times = KafkaWriter(client, TOPIC), []
    with closing(KafkaReader(client, [TOPIC])) as reader:
        for _ in range(N_TRIPS):
            began = perf_counter()
            writer.write(None, b"there and back")
            while not reader.poll(1.0):
                pass
            times.append(1e3 * (perf_counter() - began))
    return round(median(times), 2)


def _best(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        began = perf_counter()
        work()
        times.append(1e3 * (perf_counter() - began))
    return round(min(times), 2)
