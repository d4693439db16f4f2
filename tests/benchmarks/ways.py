"""The ways from events to slates that `tests.benchmarks.e2e` compares, each as processes of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from dataflows.demo.broker_process import free_port

FLOW = ("dataflows", "run", "recommend")


@dataclass(frozen=True, slots=True)
class Way:
    """A module that makes slates of events until it is killed."""

    module: tuple[str, ...]
    """Its name, and its arguments."""
    settings: dict[str, str] = field(default_factory=dict)
    """Environment variables of its own."""
    every: int = 1
    """One event in so many makes a slate."""
    processes: int = 1
    python: str = sys.executable

    def with_python(self, python: str) -> "Way":
        """Let another environment's Python run it."""
        return replace(self, python=python)

    @contextmanager
    def running(self, settings: dict[str, str], log: Path) -> Iterator[list[psutil.Process]]:
        """Run it, its output in a file; nothing of it is left running."""
        own = settings | self.settings
        if self.processes > 1:
            own["EDDY_CLUSTER__ADDRESSES"] = ";".join(f"127.0.0.1:{free_port()}" for _ in range(self.processes))
        with ExitStack() as stack, log.open("wb") as output:
            started = []
            for number in range(self.processes):
                process = subprocess.Popen(
                    [self.python, "-m", *self.module],
                    env=os.environ | own | {"EDDY_CLUSTER__PROCESS_ID": str(number)},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
                stack.callback(process.wait)
                stack.callback(process.kill)
                started.append(psutil.Process(process.pid))
            yield started


TRANSACTIONAL, IDEMPOTENT, PLAIN, QUIX = "transactional", "idempotent", "plain loop", "Quix Streams"
WAYS = {
    TRANSACTIONAL: Way(FLOW, {"EDDY_DELIVERY": "transactional"}),
    IDEMPOTENT: Way(FLOW, {"EDDY_DELIVERY": "idempotent"}),
    PLAIN: Way(("tests.benchmarks.plain_loop",)),
    QUIX: Way(("tests.benchmarks.quix_streams",)),
    "transactional, two processes": Way(FLOW, processes=2),
    "transactional, one event in four": Way(FLOW, every=4),
}
"""By what the table calls them."""
ECHOES = {delivery: Way(("tests.benchmarks.echo", delivery)) for delivery in (TRANSACTIONAL, IDEMPOTENT)}
"""By the delivery that they are alike to."""
