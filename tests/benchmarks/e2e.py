"""The recommend flow end to end, beside the same core in a plain loop: `make bench-e2e`.

Both work off the same backlog of clicks, each of which makes a slate, through one broker (Apache Kafka by KAFKA_HOME,
else the embedded one), in turns: each lap on topics of its own, in a process of its own. A lap counts from the moment a
tenth of the slates lies on the topic until all do, so starts are left out. CPU seconds are those of the whole process
in that time. Writer and counter share the machine, and cost little then: the backlog is written before, and slates are
counted by the ends of their partitions.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dataflows.codecs import encode
from dataflows.demo.broker import EmbeddedBroker, KraftBroker, running
from dataflows.demo.broker_process import BrokerProcess
from dataflows.demo.flow_process import FlowProcess
from dataflows.kafka.admin import Client, create_topics
from dataflows.kafka.consumers import written_ends
from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from dataflows.topics import declare
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.messages import Event
from tests.benchmarks.calibration import calibrate

WAYS = ("transactional", "idempotent", "plain loop")
PARTITIONS = 3
N_ITEMS, SHELF, N_USERS, SESSION = 18_000, 30, 4_000, 5
N_LEARNED = 100_000
"""Clicks that the item tables have learned."""
FROM_SHARE = 0.1
DEADLINE_S = 600.0
console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Lap:
    """One way, once."""

    slates_per_s: float
    flow_cpu_us: float
    """Of the flow's process, or the plain loop's, a slate."""
    broker_cpu_us: float
    """Of the broker's processes, a slate."""
    memory_mb: float
    compute_per_s: float | None = None
    """Slates a second of computing alone; of the plain loop."""


def main() -> None:
    """Measure, print a table, and a JSON object on standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slates", type=int, default=40_000, help="events of a backlog, each of which makes a slate")
    parser.add_argument("--turns", type=int, default=3, help="laps of each way")
    options = parser.parse_args()
    calibration = calibrate()
    home = os.environ.get("KAFKA_HOME")
    kind = KraftBroker(Path(home)) if home else EmbeddedBroker()
    with tempfile.TemporaryDirectory() as folder, running(kind) as broker:
        place = Place(broker, Path(folder), options.slates)
        laps: dict[str, list[Lap]] = {way: [] for way in WAYS}
        turns = [way for turn in range(options.turns) for way in WAYS[turn % 3 :] + WAYS[: turn % 3]]
        for way in track(turns, "laps", console=console, transient=True):
            laps[way].append(place.lap(way))
        sizes = place.bytes_a_slate()
    show(broker.description, laps)
    plain = [lap.compute_per_s or 0.0 for lap in laps["plain loop"]]
    ratios = {way: [lap.slates_per_s / of for lap, of in zip(laps[way], plain, strict=True)] for way in WAYS}
    found = {
        "broker": broker.description,
        "slates": options.slates,
        "calibration": calibration,
        "laps": {way: [asdict(lap) for lap in own] for way, own in laps.items()},
        "to_plain_compute": {way: round(float(np.median(own)), 3) for way, own in ratios.items()},
        **sizes,
    }
    sys.stdout.write(json.dumps(found) + "\n")


class Place:
    """A broker, and what is written to it before each lap."""

    def __init__(self, broker: BrokerProcess, folder: Path, n_slates: int) -> None:
        self._broker = broker
        self._processes = [psutil.Process(process.pid) for process in broker._processes]
        self._servers = broker.broker.bootstrap_servers
        self._client: Client = {"bootstrap.servers": self._servers}
        self._folder = folder
        self._n_slates = n_slates
        self._n_laps = 0
        at = int(time.time() * 1_000) - 3_600_000
        with console.status("what the item tables have learned"):
            learned = list(clicks(N_LEARNED, at - 3_600_000, seed=0))
            side = ItemSide([], learned[0].timestamp, ItemSideConfig(), EventConfig(), ProfileConfig())
            for start in range(0, len(learned), 256):
                side.learn(learned[start : start + 256])
        self._rows = side.rows()
        self._events = [(event.user_id, encode(event)) for event in clicks(n_slates, at, seed=1)]

    @property
    def _prefix(self) -> str:
        return f"e2e-{self._n_laps}-"

    def lap(self, way: str) -> Lap:
        """Write the backlog to new topics, and let one way work it off."""
        self._n_laps += 1
        create_topics(self._client, declare(self._prefix), PARTITIONS)
        self._write("model-updates", list(self._rows.items()))
        self._write("events", self._events)
        with self._working(way) as (process, output):
            self._wait_until(FROM_SHARE, process)
            began, cpu, memory = time.perf_counter(), self._cpu(process), process.memory_info().rss
            self._wait_until(1.0, process)
            seconds = time.perf_counter() - began
            spent = [now - before for now, before in zip(self._cpu(process), cpu, strict=True)]
            memory_mb = max(memory, process.memory_info().rss) / 2**20  # a plain loop that has ended has none
            compute_s = float(output.stdout.readline()) if way == "plain loop" and output.stdout else None
        n = (1 - FROM_SHARE) * self._n_slates
        flow_us, broker_us = (round(1e6 * cpu_s / n, 1) for cpu_s in spent)
        compute_per_s = round(self._n_slates / compute_s) if compute_s else None
        return Lap(round(n / seconds), flow_us, broker_us, round(memory_mb), compute_per_s)

    def bytes_a_slate(self) -> dict[str, int]:
        """Return the mean length of the last lap's slates, and on the wire where the broker keeps files."""
        topic = f"{self._prefix}recommendations"
        lengths = [len(record.value or b"") for record in scan(self._client, topic)]
        found = {"bytes_a_slate": round(float(np.mean(lengths)))}
        if logs := [*self._broker.folder.glob(f"**/{topic}-*/*.log")]:
            found["bytes_a_slate_on_the_wire"] = round(sum(log.stat().st_size for log in logs) / len(lengths))
        return found

    @contextmanager
    def _working(self, way: str) -> Iterator[tuple[psutil.Process, subprocess.Popen[bytes]]]:
        settings = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "EDDY_TOPICS__PREFIX": self._prefix,
            "EDDY_PROFILE__MAX_EVENTS_PER_5_MIN": "1000000000",
            "EDDY_RECOVERY__FOLDER": str(self._folder / f"store-{self._n_laps}"),
        }
        if way == "plain loop":
            command = [sys.executable, "-m", "tests.benchmarks.plain_loop", str(self._n_slates)]
            process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE)
        else:
            log = self._folder / f"{self._n_laps}.log"
            process = FlowProcess("recommend", settings | {"EDDY_DELIVERY": way}, log)._process
        try:
            yield psutil.Process(process.pid), process
        finally:
            process.kill()
            process.wait()

    def _cpu(self, process: psutil.Process) -> tuple[float, float]:
        """Seconds of CPU of a process, and of the broker's."""
        brokers = [child for parent in self._processes for child in (parent, *parent.children(recursive=True))]
        return tuple(sum(sum(one.cpu_times()[:2]) for one in some) for some in ([process], brokers))  # type: ignore[return-value]

    def _wait_until(self, share: float, process: psutil.Process) -> None:
        places = [(f"{self._prefix}recommendations", partition) for partition in range(PARTITIONS)]
        deadline = time.monotonic() + DEADLINE_S
        while sum(written_ends(self._client, "e2e", places).values()) < share * self._n_slates:
            if time.monotonic() > deadline or not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise SystemExit(f"the {self._n_laps}th lap did not come to {share:.0%} of its slates")
            time.sleep(0.05)

    def _write(self, topic: str, messages: list[tuple[str, bytes]]) -> None:
        writer = KafkaWriter({**self._client, "linger.ms": 20}, f"{self._prefix}{topic}")
        for key, value in messages:
            writer.write(key, value)
        writer.flush()


def clicks(n: int, at: int, seed: int) -> Iterator[Event]:
    """Make clicks of users in turn, a millisecond apart: each keeps to one shelf for a session, then takes another."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    shelves, steps = [0] * N_USERS, [0] * N_USERS
    for number in range(n):
        user = rng.randrange(N_USERS)
        if steps[user] % SESSION == 0:
            shelves[user] = int(N_ITEMS / SHELF * rng.random() ** 2)
        steps[user] += 1
        item = shelves[user] * SHELF + int(SHELF * rng.random() ** 2)
        yield Event(f"e-{seed}-{number}", f"u-{user}", f"i-{item}", "click", at + number)


def show(broker: str, laps: dict[str, list[Lap]]) -> None:
    """Print the median of each way's laps, and how far they lie apart."""
    table = Table(
        "way",
        "slates/s",
        "of the plain loop's compute",
        "flow CPU, µs a slate",
        "broker CPU, µs a slate",
        "MB",
        title=broker,
    )
    compute = float(np.median([lap.compute_per_s or 0.0 for lap in laps["plain loop"]]))
    for way, own in laps.items():
        speeds = [lap.slates_per_s for lap in own]
        table.add_row(
            way,
            f"{np.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})",
            f"{np.median(speeds) / compute:.2f}",
            *(
                f"{np.median([asdict(lap)[name] for lap in own]):,.0f}"
                for name in ("flow_cpu_us", "broker_cpu_us", "memory_mb")
            ),
        )
    table.add_row("plain loop, compute alone", f"{compute:,.0f}", "1.00")
    console.print(table)


if __name__ == "__main__":
    main()
