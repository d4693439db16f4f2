"""The recommend flow end to end, beside what else makes slates of the same events: `make bench-e2e`.

Every way works off the same backlog of clicks through one broker (Apache Kafka by KAFKA_HOME, else the embedded one),
in turns: each lap on topics of its own, in processes of its own. A lap counts from the moment a tenth of the slates
lies on the topic until all do, so starts are left out. Then the flow, and a bare echo of the events, answer a steady
stream at several rates, after an echo that is not counted: a broker's compiler needs its time, and whoever came first
would wait for it. CPU seconds are those of whole processes in that time. Writer and counter share the machine.

Prints tables, one JSON object on standard output, and writes the broker's part of `tests/benchmarks/README.md`.
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

from dataflows.demo.broker import EmbeddedBroker, KraftBroker, running
from tests.benchmarks.backlog import Lap, Place, Steady
from tests.benchmarks.calibration import calibrate, round_trip_ms
from tests.benchmarks.e2e_page import Found, page_of
from tests.benchmarks.pages import machine, write_part
from tests.benchmarks.quix_environment import PINNED, quix_python
from tests.benchmarks.ways import ECHOES, PLAIN, QUIX, WAYS

SHARES = (0.1, 0.5, 0.8)
"""Of the sustained rate, at which latencies are measured."""
console = Console(stderr=True)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=30_000, help="of a backlog")
    parser.add_argument("--turns", type=int, default=3, help="laps of each way")
    parser.add_argument("--ways", type=_names, default=list(WAYS), help=f"of: {', '.join(WAYS)}")
    parser.add_argument(
        "--rates",
        type=_rates,
        default=[500.0, 1_000.0],
        help="events/s of the latencies, beside shares of the flow's; 0: none",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="for which each rate is held")
    parser.add_argument("--dry", action="store_true", help="leave the page as it is")
    options = parser.parse_args()
    found = measure(options.events, options.turns, options.ways, options.rates, options.seconds)
    page = page_of(found)
    console.print(page, markup=False, highlight=False, soft_wrap=True)
    if not options.dry:
        write_part(f"bench-e2e {found.kind}", page)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


def measure(n_events: int, n_turns: int, names: list[str], rates: list[float], seconds: float) -> Found:
    """Let each way run in turn, then stream at each rate."""
    ways, skipped = dict(WAYS), None
    if QUIX in names:
        with console.status("an environment for Quix Streams"):
            python = quix_python()
        if python is None:
            skipped = f"{' and '.join(PINNED)} could not be installed"
            names = [name for name in names if name != QUIX]
        else:
            ways[QUIX] = ways[QUIX].with_python(python)
    home = os.environ.get("KAFKA_HOME")
    kind = KraftBroker(Path(home)) if home else EmbeddedBroker()
    laps: dict[str, list[Lap]] = {name: [] for name in names}
    flow: dict[str, list[Steady]] = {}
    echo: dict[str, list[Steady]] = {}
    with ExitStack() as stack, console.status("the tables") as status:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = stack.enter_context(running(kind))
        place = stack.enter_context(closing(Place(broker, Path(folder), n_events)))
        calibration = calibrate() | {"round trip_ms": round_trip_ms(place.client)}
        for turn in range(n_turns):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                status.update(f"turn {turn + 1} of {n_turns}: {name}")
                laps[name].append(place.lap(ways[name], computes=name == PLAIN))
        bytes_a_slate = round(place.bytes_a_slate())
        for delivery in [name for name in ECHOES if name in names and any(rates)]:
            sustained = float(np.median([lap.slates_per_s for lap in laps[delivery]]))
            asked = rates + [float(round(share * sustained)) for share in SHARES]
            status.update(f"latencies: the broker warms up, {delivery}")
            place.steady(ECHOES[delivery], asked[:1], seconds)
            status.update(f"latencies: {delivery}")
            flow[delivery] = place.steady(ways[delivery], asked, seconds)
            status.update(f"latencies: echo, {delivery}")
            echo[delivery] = place.steady(ECHOES[delivery], asked, seconds)
    command = " ".join(
        ["KAFKA_HOME=..."] * bool(home) + ["python -m tests.benchmarks.e2e", *map(shlex.quote, sys.argv[1:])]
    )
    return Found(
        kind.kind, _version(home), machine(), command, n_events, n_turns, seconds, calibration, laps, flow, echo,
        bytes_a_slate, skipped,
    )  # fmt: skip


def _version(home: str | None) -> str:
    """Say which broker it was, without saying where it lies."""
    if home is None:
        return EmbeddedBroker.description
    jars = [jar.stem.removeprefix("kafka-clients-") for jar in Path(home, "libs").glob("kafka-clients-*.jar")]
    return " ".join(["Apache Kafka", *jars])


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split("/")]
    if unknown := [name for name in names if name not in WAYS]:
        raise argparse.ArgumentTypeError(f"no way is called {unknown[0]!r}")
    return names


def _rates(text: str) -> list[float]:
    return [float(rate) for rate in text.split(",")]


if __name__ == "__main__":
    main()
