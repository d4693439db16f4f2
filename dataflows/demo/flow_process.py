"""Flows, each a process of its own as in production."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from dataflows.demo.broker_process import free_port
from dataflows.errors import EddyError

READY_S = 300.0
"""How long a start may take: on a busy machine a first one compiles its kernels for minutes."""
DRAIN_S = 60.0


class FlowProcess:
    """One `eddy run FLOW`, or the door `eddy serve`, its output added to a log file.

    Parameters
    ----------
    flow : `recommend`, `learn`, `evaluate` or `serve`.
    settings : environment variables beside this process's own.
    port : where it answers probes, and the door everything.
    """

    def __init__(self, flow: str, settings: dict[str, str], log: Path, port: int | None = None) -> None:
        self.flow = flow
        self._log = log
        self.port = port or free_port()
        command, variable = (["serve"], "SERVE") if flow == "serve" else (["run", flow], "HTTP")
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "dataflows", *command],
                env=os.environ | settings | {f"EDDY_{variable}__PORT": str(self.port)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise with the end of the log where the flow has ended."""
        if self.code is not None:
            raise EddyError(f"the flow {self.flow!r} stopped by itself with {self.code}:\n{self.last_words()}")

    def is_ready(self) -> bool:
        """Ask the flow's `/readyz`."""
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                return True
        except (URLError, OSError):
            return False

    def metrics(self) -> dict[str, float]:
        """Return what `/metrics` says, by name and labels; empty while the flow does not answer."""
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except (URLError, OSError):
            return {}
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if name[:1] != "#"}

    def memory_mb(self) -> float:
        """Return the memory that the process holds; 0 where it has ended."""
        command = ["ps", "-o", "rss=", "-p", str(self._process.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        return int(done.stdout.strip() or 0) / 1_024

    def wait_until_ready(self) -> None:
        """Wait until the flow can work.

        Raises
        ------
        EddyError : it has ended, or takes too long.
        """
        deadline = time.monotonic() + READY_S
        while not self.is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise EddyError(f"the flow {self.flow!r} was not ready within {READY_S:.0f} s:\n{self.last_words()}")
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, where there is still somebody to get it."""
        if self.code is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float = DRAIN_S) -> int:
        """Wait until it has ended, and return its exit code; where it does not end, it is killed."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])


@contextmanager
def running_flows(flows: tuple[str, ...], settings: dict[str, str], folder: Path) -> Iterator[list[FlowProcess]]:
    """Run flows over recovery stores in a folder, and drain them at the end, whatever happens."""
    own = settings | {"EDDY_RECOVERY__FOLDER": str(folder / "recovery")}
    port = int(settings.get("EDDY_SERVE__PORT", "0")) or None
    processes = [FlowProcess(flow, own, folder / f"{flow}.log", port if flow == "serve" else None) for flow in flows]
    try:
        yield processes
    finally:
        for process in processes:
            process.send(signal.SIGTERM)
        for process in processes:
            process.wait()
