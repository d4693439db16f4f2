"""From an event handed to the client to its slate in a consumer's hand."""

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
from dataflows.kafka.admin import Client, create_topics
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
START_S = 120.0


def measure_latency() -> dict[str, Any]:
    """Run the flow as its own process, recovery on, with a steady stream through the embedded broker; milliseconds.

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
        with closing(flow), closing(SteadyStream(client, PREFIX, N_USERS, N_ITEMS)) as stream:
            stream.wait_for_first_slate()
            latencies = stream.run(RATE, SECONDS, WARM_UP_S)
    return {"events_per_s": RATE, "slates": len(latencies), "latency_ms": quantiles(latencies)}


def quantiles(latencies: list[float]) -> dict[str, float]:
    """Return what a page says of latencies, in their unit."""
    found = {f"p{q}": round(float(np.percentile(latencies, q)), 1) for q in (50, 95, 99)}
    return found | {"max": round(max(latencies), 1)}


class SteadyStream:
    """What the platform writes, and when, and what comes back: a slate, or an echo of the event.

    Parameters
    ----------
    n_users, n_items : the users that act, `u-0` and so on, and the items that they act on, `i-0` and so on.
    """

    def __init__(self, client: Client, prefix: str, n_users: int, n_items: int) -> None:
        self._writer = KafkaWriter(client, f"{prefix}events")
        self._reader = KafkaReader({**client, "fetch.wait.max.ms": 10}, [f"{prefix}recommendations"])
        self._n_users, self._n_items = n_users, n_items
        self._rng = np.random.default_rng(0)
        self._written_at: dict[str, float] = {}
        self._n = 0

    def wait_for_first_slate(self) -> None:
        """Write an event, and wait until it is answered."""
        self._write()
        deadline = time.monotonic() + START_S
        while not self._reader.poll(0.2):
            if time.monotonic() > deadline:
                raise TimeoutError(f"there was no slate within {START_S:.0f} s")

    def run(self, rate: float, seconds: float, warm_up_s: float) -> list[float]:
        """Write so many events a second, and read what comes; returns milliseconds of what followed the warm-up."""
        n, first = round(rate * seconds), self._n
        writing = threading.Thread(target=self._write_all, args=(rate, n))
        writing.start()
        latencies, counted_from = [], first + rate * warm_up_s
        deadline = time.perf_counter() + seconds + 30
        n_read = 0
        while n_read < n and time.perf_counter() < deadline:
            for record in [record for batch in self._reader.poll(0.005) for record in batch.records]:
                answer = orjson.loads(record.value or b"")
                trigger = answer.get("trigger_id") or answer["event_id"]
                n_read += 1
                if int(trigger[2:]) >= counted_from:
                    latencies.append(1_000 * (time.perf_counter() - self._written_at[trigger]))
        writing.join()
        return latencies

    def close(self) -> None:
        """Leave the broker."""
        self._reader.close()

    def _write_all(self, rate: float, n: int) -> None:
        start = time.perf_counter()
        for k in range(n):
            time.sleep(max(0.0, start + k / rate - time.perf_counter()))
            self._write()
        self._writer.flush()

    def _write(self) -> None:
        event_id, user = f"e-{self._n}", f"u-{self._rng.integers(self._n_users)}"
        self._n += 1
        event = {
            "event_id": event_id,
            "user_id": user,
            "item_id": f"i-{self._rng.integers(self._n_items)}",
            "event_type": "click",
            "timestamp": int(time.time() * 1_000),
        }
        self._written_at[event_id] = time.perf_counter()
        self._writer.write(user, orjson.dumps(event))


def _write_catalog(client: Client) -> None:
    catalog = KafkaWriter(client, f"{PREFIX}catalog")
    for n in range(N_ITEMS):
        item = Item(f"i-{n}", title=f"Thing {n}", categories=[f"shelf-{n % 40}"], tags=[f"tag-{n % 7}"])
        catalog.write(item.item_id, encode(item))
    catalog.flush()
