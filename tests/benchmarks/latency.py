"""The recommend flow through a broker: from an event handed to the client to its slate in a consumer's hand."""

import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from dataflows.codecs import encode
from dataflows.demo.broker import EmbeddedBroker, running
from dataflows.kafka.admin import create_topics
from dataflows.kafka.reader import KafkaReader
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import declare
from models.messages import Item
from tests.kafka.flows import FlowUnderTest

RATE = 500
"""Events a second, each of which makes a slate."""
SECONDS, WARM_UP_S = 30, 5
N_USERS, N_ITEMS = 1_000, 2_000
PREFIX = "bench-"


def measure_latency() -> dict[str, Any]:
    """Run the flow as its own process, recovery on, with a steady stream; milliseconds.

    Returns
    -------
    The rate, the number of slates that count, and their p50, p95, p99 and maximum.
    """
    with tempfile.TemporaryDirectory() as folder, running(EmbeddedBroker()) as process:
        servers = process.broker.bootstrap_servers
        client: dict[str, Any] = {"bootstrap.servers": servers}
        create_topics(client, declare(PREFIX), 1)
        _write_catalog(client)
        flow = FlowUnderTest(servers, PREFIX, Path(folder), EDDY_RECOVERY__PARTITIONS="8").start()
        reading = KafkaReader({**client, "fetch.wait.max.ms": 10}, [f"{PREFIX}recommendations"])
        with closing(flow), closing(reading) as reader:
            written = _Stream(client)
            _wait_for_first_slate(written, reader)
            latencies = written.run(reader)
    quantiles = {f"p{q}": round(float(np.percentile(latencies, q)), 1) for q in (50, 95, 99)}
    return {"events_per_s": RATE, "slates": len(latencies), "latency_ms": quantiles | {"max": round(max(latencies), 1)}}


class _Stream:
    """What the platform writes, and when."""

    def __init__(self, client: dict[str, Any]) -> None:
        self._writer = KafkaWriter(client, f"{PREFIX}events")
        self._rng = np.random.default_rng(0)
        self._written_at: dict[str, float] = {}
        self._n = 0

    def write(self) -> None:
        event_id, user = f"e-{self._n}", f"u-{self._rng.integers(N_USERS)}"
        self._n += 1
        event = {
            "event_id": event_id,
            "user_id": user,
            "item_id": f"i-{self._rng.integers(N_ITEMS)}",
            "event_type": "click",
            "timestamp": int(time.time() * 1_000),
        }
        self._written_at[event_id] = time.perf_counter()
        self._writer.write(user, orjson.dumps(event))

    def run(self, reader: KafkaReader) -> list[float]:
        """Write at the rate, read what comes; returns milliseconds of the slates after the warm-up."""
        first = self._n
        writing = threading.Thread(target=self._write_all)
        writing.start()
        latencies, counted_from = [], first + RATE * WARM_UP_S
        deadline = time.perf_counter() + SECONDS + 30
        n_read = 0
        while n_read < RATE * SECONDS and time.perf_counter() < deadline:
            records = [record for batch in reader.poll(0.005) for record in batch.records]
            for record in records:
                trigger = orjson.loads(record.value or b"")["trigger_id"]
                n_read += 1
                if int(trigger[2:]) >= counted_from:
                    latencies.append(1_000 * (time.perf_counter() - self._written_at[trigger]))
        writing.join()
        return latencies

    def _write_all(self) -> None:
        start = time.perf_counter()
        for k in range(RATE * SECONDS):
            time.sleep(max(0.0, start + k / RATE - time.perf_counter()))
            self.write()
        self._writer.flush()


def _wait_for_first_slate(stream: _Stream, reader: KafkaReader) -> None:
    stream.write()
    deadline = time.monotonic() + 120
    while not reader.poll(0.2):
        if time.monotonic() > deadline:
            raise TimeoutError("the flow made no slate within 120 s")


def _write_catalog(client: dict[str, Any]) -> None:
    catalog = KafkaWriter(client, f"{PREFIX}catalog")
    for n in range(N_ITEMS):
        item = Item(f"i-{n}", title=f"Thing {n}", categories=[f"shelf-{n % 40}"], tags=[f"tag-{n % 7}"])
        catalog.write(item.item_id, encode(item))
    catalog.flush()
