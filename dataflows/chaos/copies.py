"""One flow as the processes that run it, started again and again."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dataflows.demo.broker_process import free_port
from dataflows.demo.flow_process import DRAIN_S, FlowProcess


class Copies:
    """The processes that together run one flow over one recovery store, started again and again.

    Parameters
    ----------
    n : processes of each start; more than one are a cluster.
    epoch_s : seconds between the snapshots of each start.
    """

    def __init__(
        self,
        flow: str,
        settings: dict[str, str],
        folder: Path,
        n: Callable[[], int],
        epoch_s: Callable[[], int],
    ) -> None:
        self.flow = flow
        self._settings = settings | {"EDDY_RECOVERY__FOLDER": str(folder / "recovery")}
        self._folder = folder
        self._n = n
        self._epoch_s = epoch_s
        self.processes: list[FlowProcess] = []
        self.ready_s: list[float] = []
        """How long each start took until the flow was ready; of those that were waited for."""
        self.sizes: Counter[int] = Counter()
        """Starts by their number of processes."""
        self._started_at = 0.0
        self._earlier: list[FlowProcess] = []
        """Those that had a successor beside them, or before they were waited for."""

    def start(self) -> None:
        """Start all processes; does not wait."""
        n, epoch_s = self._n(), str(self._epoch_s())
        addresses = ";".join(f"127.0.0.1:{free_port()}" for _ in range(n)) if n > 1 else ""
        self._started_at = time.monotonic()
        self.sizes[n] += 1
        self._earlier = [process for process in (*self._earlier, *self.processes) if process.code is None]
        self.processes = [
            FlowProcess(
                self.flow,
                self._settings
                | {
                    "EDDY_CLUSTER__ADDRESSES": addresses,
                    "EDDY_CLUSTER__PROCESS_ID": str(number),
                    "EDDY_RECOVERY__EPOCH_INTERVAL_S": epoch_s,
                    "EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S": epoch_s,
                },
                self._folder / f"{self.flow}-{number}.log",
            )
            for number in range(n)
        ]

    def wait_until_ready(self) -> None:
        """Wait until every process is ready.

        Raises
        ------
        EddyError : one has ended, or is not ready in time.
        """
        for process in self.processes:
            process.wait_until_ready()
        self.ready_s.append(time.monotonic() - self._started_at)

    def has_begun(self) -> bool:
        """Say whether it has taken in any message since this start."""
        return any(
            value > 0
            for process in self.processes
            for name, value in process.metrics().items()
            if name.startswith("eddy_messages_total")
        )

    def check(self) -> None:
        """Raise with the end of its log where a process has ended by itself."""
        for process in self.processes:
            process.check()

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = DRAIN_S) -> list[int]:
        """Send a signal to all processes; return their exit codes, after so many seconds that of a SIGKILL."""
        for process in self.processes:
            process.send(number)
        return [process.wait(timeout_s) for process in self.processes]

    def kill(self) -> None:
        """Leave nothing running, also of those that are frozen beside their successors."""
        for process in (*self.processes, *self._earlier):
            process.send(signal.SIGCONT)
            process.send(signal.SIGKILL)
            process.wait()
