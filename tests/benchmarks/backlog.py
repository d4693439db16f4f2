"""A broker with what a flow reads on it, and the ways that work on it: off a backlog, or at a steady rate."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from confluent_kafka import Consumer

from dataflows.codecs import encode
from dataflows.demo.broker_process import BrokerProcess
from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.consumers import bounds_of
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import declare
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.messages import Event
from tests.benchmarks.latency import SteadyStream, quantiles
from tests.benchmarks.usage import cpu_by_thread, cpu_s, memory_mb
from tests.benchmarks.ways import Way

PARTITIONS = 3
N_ITEMS, SHELF, N_USERS, SESSION = 18_000, 30, 4_000, 5
N_LEARNED = 100_000
"""Clicks that the item tables have learned."""
LEARNED_AT_ONCE = 10_000
"""Each time all rows that changed are published."""
FROM_SHARE = 0.1
DEADLINE_S = 600.0
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Lap:
    """One way, once, through a backlog."""

    events_per_s: float
    slates_per_s: float
    flow_cpu_us: float
    """Of the way's own processes, a slate; as what follows."""
    broker_cpu_us: float
    memory_mb: float
    """The most that was seen."""
    bytes_on_the_wire: float | None
    """Of a slate, in the broker's log; None where the broker keeps none."""
    threads_us: dict[str, float] = field(default_factory=dict)
    """CPU by kind of thread."""
    compute_per_s: float | None = None
    """Slates a second of computing alone; of the plain loop."""
    stages_us: dict[str, float] = field(default_factory=dict)
    """What that was spent on."""


@dataclass(frozen=True, slots=True)
class Steady:
    """One way at one rate, of events a second."""

    rate: float
    latency_ms: dict[str, float]
    flow_cpu_us: float
    broker_cpu_us: float


class Place:
    """A broker, and what is written to it before each lap.

    Parameters
    ----------
    n_events : of a backlog.
    """

    def __init__(self, broker: BrokerProcess, folder: Path, n_events: int) -> None:
        self._broker = broker
        self._processes = [psutil.Process(process.pid) for process in broker._processes]
        self._servers = broker.broker.bootstrap_servers
        self.client: Client = {"bootstrap.servers": self._servers}
        counted: dict[str, str] = {"group.id": "e2e", "isolation.level": "read_uncommitted"}
        self._ends = Consumer({**self.client, **counted})
        self._folder = folder
        self._n_events = n_events
        self._n_laps = 0
        at = self._at = int(time.time() * 1_000) - 3_600_000
        learned = list(clicks(N_LEARNED, at - 3_600_000, seed=0))
        side = ItemSide([], learned[0].timestamp, ItemSideConfig(), EventConfig(), ProfileConfig())
        for start in range(0, len(learned), LEARNED_AT_ONCE):
            side.learn(learned[start : start + LEARNED_AT_ONCE])
        self._rows = side.rows()

    def close(self) -> None:
        """Leave the broker."""
        self._ends.close()

    @property
    def _prefix(self) -> str:
        return f"e2e-{self._n_laps}-"

    def lap(self, way: Way, *, computes: bool = False) -> Lap:
        """Write the backlog to new topics, and let one way work it off.

        Parameters
        ----------
        computes : whether it says how long it computed.
        """
        self._open()
        events = clicks(self._n_events, self._at, seed=1, every=way.every)
        self._write("events", [(event.user_id, encode(event)) for event in events])
        n_slates = -(-self._n_events // way.every)
        with self._working(way) as processes:
            n_before, _ = self._wait_until(FROM_SHARE * n_slates, processes)
            began, before = time.perf_counter(), self._used(processes)
            _, peak_mb = self._wait_until(n_slates, processes)
            seconds, after = time.perf_counter() - began, self._used(processes)
        n = n_slates - n_before  # a whole batch may have come at once, so it is more than the share
        flow_us, broker_us = (1e6 * (now - then) / n for now, then in zip(after[:2], before[:2], strict=True))
        compute_per_s, stages_us = self._computed() if computes else (None, {})
        return Lap(
            round(way.every * n / seconds), round(n / seconds), round(flow_us, 1), round(broker_us, 1), round(peak_mb),
            self._bytes_on_the_wire(n_slates), _by_slate(after[2] - before[2], n), compute_per_s, stages_us,
        )  # fmt: skip

    def steady(self, way: Way, rates: list[float], seconds: float) -> list[Steady]:
        """Let one way answer a steady stream, at one rate after the other."""
        self._open()
        found = []
        with (
            self._working(way) as processes,
            closing(SteadyStream(self.client, self._prefix, N_USERS, N_ITEMS)) as stream,
        ):
            stream.wait_for_first_slate()
            for rate in rates:
                before = self._used(processes)
                latencies = stream.run(rate, seconds + WARM_UP_S, WARM_UP_S)
                if not latencies:
                    raise SystemExit(f"{way.module}: nothing was answered at {rate:.0f} events/s")
                n = rate * (seconds + WARM_UP_S)
                flow_us, broker_us = (
                    round(1e6 * (now - then) / n, 1)
                    for now, then in zip(self._used(processes)[:2], before[:2], strict=True)
                )
                found.append(Steady(rate, quantiles(latencies), flow_us, broker_us))
        return found

    def bytes_a_slate(self) -> float:
        """Return the mean length of the last lap's slates, as JSON."""
        return float(np.mean([len(record.value or b"") for record in scan(self.client, self._slates)]))

    @property
    def _slates(self) -> str:
        return f"{self._prefix}recommendations"

    def _open(self) -> None:
        """Go on to topics that nobody has written to, with what the tables have learned."""
        self._n_laps += 1
        create_topics(self.client, declare(self._prefix), PARTITIONS)
        self._write("model-updates", list(self._rows.items()))

    @contextmanager
    def _working(self, way: Way) -> Iterator[list[psutil.Process]]:
        settings = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "EDDY_TOPICS__PREFIX": self._prefix,
            "EDDY_PROFILE__MAX_EVENTS_PER_5_MIN": "1000000000",
            "EDDY_RECOVERY__FOLDER": str(self._folder / f"store-{self._n_laps}"),
            "EDDY_HTTP__PORT": "0",
        }
        with way.running(settings, self._log) as processes:
            yield processes

    @property
    def _log(self) -> Path:
        return self._folder / f"{self._n_laps}.log"

    def _used(self, processes: list[psutil.Process]) -> tuple[float, float, Counter[str]]:
        """Seconds of CPU of the way's processes, of the broker's, and of the former by kind of thread."""
        return cpu_s(processes), cpu_s(self._processes), cpu_by_thread(processes)

    def _wait_until(self, n_slates: float, processes: list[psutil.Process]) -> tuple[int, float]:
        """Wait until so many slates lie on the topic; returns how many do then, and the most memory held meanwhile."""
        deadline, peak_mb = time.monotonic() + DEADLINE_S, 0.0
        while (n := self._n_written()) < n_slates:
            ended = any(one.status() == psutil.STATUS_ZOMBIE for one in processes)
            if ended or time.monotonic() > deadline:
                raise SystemExit(f"the {self._n_laps}th lap made no {n_slates:,.0f} slates:\n{self._last_words()}")
            peak_mb = max(peak_mb, memory_mb(processes))
            time.sleep(0.05)
        return n, peak_mb

    def _n_written(self) -> int:
        return sum(bounds_of(self._ends, self._slates, part)[1] for part in range(PARTITIONS))

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])

    def _computed(self) -> tuple[float, dict[str, float]]:
        """Return slates a second of computing alone, and microseconds a slate by stage, as the plain loop says them."""
        n, stages = json.loads(self._log.read_text().splitlines()[-1])
        return round(n / sum(stages.values())), _by_slate(stages, n)

    def _bytes_on_the_wire(self, n_slates: int) -> float | None:
        logs = [*self._broker.folder.glob(f"**/{self._slates}-*/*.log")]
        return round(sum(log.stat().st_size for log in logs) / n_slates) if logs else None

    def _write(self, topic: str, messages: list[tuple[str, bytes]]) -> None:
        writer = KafkaWriter({**self.client, "linger.ms": 20}, f"{self._prefix}{topic}")
        for key, value in messages:
            writer.write(key, value)
        writer.flush()


def clicks(n: int, at: int, seed: int, every: int = 1) -> Iterator[Event]:
    """Make acts of users in turn, a millisecond apart: each keeps to one shelf for a session, then takes another.

    One in `every` is a click, the others are impressions, which make no slate.
    """
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    shelves, steps = [0] * N_USERS, [0] * N_USERS
    for number in range(n):
        user = rng.randrange(N_USERS)
        if steps[user] % SESSION == 0:
            shelves[user] = int(N_ITEMS / SHELF * rng.random() ** 2)
        steps[user] += 1
        item = shelves[user] * SHELF + int(SHELF * rng.random() ** 2)
        event_type = "impression" if number % every else "click"
        yield Event(f"e-{seed}-{number}", f"u-{user}", f"i-{item}", event_type, at + number)


def _by_slate(seconds: dict[str, float], n: float) -> dict[str, float]:
    return {name: round(1e6 * spent / n, 1) for name, spent in seconds.items()}
