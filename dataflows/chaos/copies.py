"""One flow as the processes that run it, started again and again."""

import signal
import time
from pathlib import Path

from dataflows.demo.broker_process import free_port
from dataflows.demo.flow_process import FlowProcess


class Copies:
    """The processes that together run one flow over one recovery store, started again and again.

    Parameters
    ----------
    n : processes; more than one are a cluster.
    """

    def __init__(self, flow: str, settings: dict[str, str], folder: Path, n: int = 1) -> None:
        self.flow = flow
        self._settings = settings | {"EDDY_RECOVERY__FOLDER": str(folder / "recovery")}
        self._folder = folder
        self._n = n
        self.processes: list[FlowProcess] = []
        self.starts_s: list[float] = []
        """How long each start took until the flow was ready."""

    def start(self) -> None:
        """Start all processes; does not wait."""
        addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(self._n)) if self._n > 1 else ""
        self.processes = [
            FlowProcess(
                self.flow,
                self._settings | {"EDDY_CLUSTER__ADDRESSES": addresses, "EDDY_CLUSTER__PROCESS_ID": str(number)},
                self._folder / f"{self.flow}-{number}.log",
            )
            for number in range(self._n)
        ]

    def wait_until_ready(self) -> None:
        """Wait until every process is ready.

        Raises
        ------
        EddyError : one has ended, or is not ready in time.
        """
        started = time.monotonic()
        for process in self.processes:
            process.wait_until_ready()
        self.starts_s.append(time.monotonic() - started)

    def check(self) -> None:
        """Raise with the end of its log where a process has ended by itself."""
        for process in self.processes:
            process.check()

    def end(self, number: signal.Signals = signal.SIGTERM) -> list[int]:
        """Send a signal to all processes; return their exit codes."""
        for process in self.processes:
            process.send(number)
        return [process.wait() for process in self.processes]

    def kill(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            process.send(signal.SIGCONT)
            process.send(signal.SIGKILL)
            process.wait()
