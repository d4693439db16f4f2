"""A broker as a child process: it can be stopped, killed and started again, and ends with its parent."""

import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataflows.demo import exit_with_parent
from dataflows.errors import EddyError
from dataflows.kafka.admin import answers

Kind = Literal["cluster", "kafka", "embedded"]

START_S = 120.0
GRACE_S = 30.0  # a full embedded broker takes seconds to save its data
LOG_TAIL = 2_000


class NoBrokerError(EddyError):
    """There is no broker, and none could be started; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker to talk to."""

    bootstrap_servers: str
    kind: Kind
    description: str


class BrokerProcess(ABC):
    """A broker as a child process on a loopback port. It keeps its port and its data over stop, kill and start.

    Parameters
    ----------
    folder : where it keeps its data; none: a temporary folder, which `close` removes.
    port : none takes a free one.
    """

    kind: Kind
    description: str

    def __init__(self, folder: Path | None = None, port: int | None = None) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix="eddy-broker-")) if folder is None else folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port() if port is None else port
        self._processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """Lay out the data folder and return the commands that together serve the port, each in the foreground.

        Raises
        ------
        NoBrokerError : this kind of broker cannot run here.
        """

    @property
    def broker(self) -> Broker:
        """What clients need to know."""
        return Broker(f"127.0.0.1:{self.port}", self.kind, self.description)

    @property
    def log_file(self) -> Path:
        """Everything that the broker has printed."""
        return self.folder / "broker.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises
        ------
        NoBrokerError : it cannot run here, or it did not answer in time: then with the end of its log.
        """
        if not is_free(self.port):
            raise NoBrokerError(f"port {self.port} is taken: choose another, or none for a free one")
        with self.log_file.open("ab") as log:
            self._processes = [
                subprocess.Popen(  # noqa: S603
                    [sys.executable, "-I", "-S", exit_with_parent.__file__, f"{GRACE_S}", *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C is for the parent alone, which still has to drain against this broker.
                    start_new_session=True,
                )
                for command in self.commands()
            ]
        deadline = time.monotonic() + START_S
        while not answers(self._client()):
            if any(process.poll() is not None for process in self._processes) or time.monotonic() > deadline:
                self.kill()
                raise NoBrokerError(f"{self.description} did not start. Its log ends:\n{self._log_tail()}")

    def stop(self) -> None:
        """Let it save its data and end; where it has not within `GRACE_S`, it is killed."""
        self._end(b"")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(exit_with_parent.KILL)

    def close(self) -> None:
        """End it, and remove its folder where that is temporary."""
        if self._temporary:
            self.kill()  # nothing is kept, so nothing has to be saved
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            self.stop()

    def _client(self) -> dict[str, str]:
        return {"bootstrap.servers": self.broker.bootstrap_servers}

    def _end(self, order: bytes) -> None:
        while self._processes:
            self._processes.pop().communicate(order)

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-LOG_TAIL:].strip()


def is_free(port: int) -> bool:
    """Say whether a loopback port can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Find a free loopback port below those that the system hands to outgoing connections.

    Otherwise a client that reconnects while its broker is down could be given the broker's own port.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        if is_free(port):
            return port
