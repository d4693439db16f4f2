"""`eddy up` as a process: what a newcomer starts, for tests of the door and of its page."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataflows.demo.broker import EmbeddedBroker
from dataflows.demo.broker_process import NoBrokerError

READY_S = 500.0
"""A first start compiles every kernel."""


class Up:
    """`eddy up` that runs.

    Parameters
    ----------
    settings : environment variables beside this process's own.
    """

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        self._said = folder / "up.log"
        with self._said.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataflows", "up", "--no-browser", "--folder", str(folder)],
                env=os.environ | {"EDDY_SERVE__PORT": "0"} | settings,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._said.read_text()

    def wait_for_address(self) -> str:
        """Wait until all is ready; return where the door answers."""
        deadline = time.monotonic() + READY_S
        while (found := re.search(r"the live page: (\S+)", self.said)) is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)
        return found[1]

    def children(self) -> list[int]:
        """Return the ids of all processes that it has started, and theirs."""
        lines = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        parents = {int(child): int(parent) for child, parent in map(str.split, lines.splitlines())}
        found = {self.process.pid}
        while new := {child for child, parent in parents.items() if parent in found} - found:
            found |= new
        return sorted(found - {self.process.pid})

    def end(self) -> int:
        """Press Ctrl-C; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(120)


@contextmanager
def running_up(folder: Path, **settings: str) -> Iterator[Up]:
    """Start `eddy up` with the embedded broker, and leave nothing of it running; skips where that has no build."""
    try:
        EmbeddedBroker(folder / "broker").commands()
    except NoBrokerError as error:
        pytest.skip(str(error))
    up = Up(folder, settings)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.end()


def ask_until(client: httpx.Client, user: str, n_items: int, timeout_s: float = 60.0) -> dict[str, Any]:
    """Ask for slates until one has so many items: what others did takes a moment to be learned."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = client.post("/requests?items=true", json={"user_id": user, "n_items": n_items})
        if answer.status_code == 200 and len(answer.json()["slate"]["items"]) == n_items:
            asked: dict[str, Any] = answer.json()
            return asked
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
