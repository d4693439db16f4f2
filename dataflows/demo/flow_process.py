"""The demo's flows, each a process of its own as in production."""

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

STOP_S = 30


class FlowProcess:
    """One `eddy run FLOW`, its output in a log file."""

    def __init__(self, flow: str, settings: dict[str, str], folder: Path) -> None:
        self.flow = flow
        self._port = free_port()
        self._log = folder / f"{flow}.log"
        own = {"EDDY_HTTP__PORT": str(self._port), "EDDY_RECOVERY__FOLDER": str(folder / "recovery")}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", "dataflows", "run", flow],
                env=os.environ | settings | own,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise with the end of the log where the flow has died."""
        if self._process.poll() is not None:
            lines = self._log.read_text(errors="replace").splitlines()[-8:]
            raise EddyError(f"the flow {self.flow!r} stopped by itself:\n" + "\n".join(lines))

    def wait_until_ready(self, deadline_s: float = 120) -> None:
        """Wait until the flow's `/readyz` says so."""
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            self.check()
            try:
                with opener.open(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        raise EddyError(f"the flow {self.flow!r} was not ready within {deadline_s:.0f} s")

    def terminate(self) -> None:
        """Ask the flow to drain."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> None:
        """Wait until it has drained; end it where it does not."""
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running_flows(flows: tuple[str, ...], settings: dict[str, str], folder: Path) -> Iterator[list[FlowProcess]]:
    """Run flows and drain them at the end, whatever happens."""
    processes = [FlowProcess(flow, settings, folder) for flow in flows]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
