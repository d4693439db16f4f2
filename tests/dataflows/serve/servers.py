"""Redis and PostgreSQL as Debian brings them, started by the tests, each on a port and in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from dataflows.demo.broker_process import free_port

WAIT_S = 60
PASSWORD = "p@ss/w:rd"  # noqa: S105 - of servers that end with their test
PASSWORD_IN_URL = "p%40ss%2Fw%3Ard"  # noqa: S105


class StoreServer:
    """A server that may be stopped, and started again over what it has kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def empty(self) -> None:
        """Take everything away, as a server that comes back without its disk has."""
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=log, **owner_of(self.folder)
            )
        deadline = time.monotonic() + WAIT_S
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(WAIT_S)
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.stop()


class RedisServer(StoreServer):
    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD_IN_URL}@127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return [
            "redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD,
            "--appendonly", "yes", "--dir", str(self.folder),
        ]  # fmt: skip

    def answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, password=PASSWORD) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def empty(self) -> None:
        with redis.Redis(port=self.port, password=PASSWORD) as client:
            client.flushall()

    def set_eviction(self, policy: str) -> None:
        """Bound its memory, and say what it does beyond that."""
        with redis.Redis(port=self.port, password=PASSWORD) as client:
            client.config_set("maxmemory", "100mb")
            client.config_set("maxmemory-policy", policy)


class PostgresServer(StoreServer):
    @property
    def url(self) -> str:
        return f"postgresql://eddy:{PASSWORD_IN_URL}@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        return [
            binary("postgres"), "-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", "",
            "-F", "-c", "max_connections=60",
        ]  # fmt: skip

    def start(self) -> None:
        if not (self.folder / "data").exists():
            (self.folder / "password").write_text(PASSWORD)
            subprocess.run(
                [binary("initdb"), "-D", "data", "-U", "eddy", "-A", "scram-sha-256", "--pwfile", "password", "-N",
                 "-E", "UTF8", "--locale", "C"],
                cwd=self.folder, check=True, capture_output=True, **owner_of(self.folder),
            )  # fmt: skip
        super().start()

    def answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def empty(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            names = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'eddy%'").fetchall()
            for (name,) in names:
                connection.execute(f'DROP SCHEMA "{name}" CASCADE')  # type: ignore[call-overload]


SERVERS: dict[str, type[StoreServer]] = {"redis": RedisServer, "postgres": PostgresServer}


@contextmanager
def running_server(kind: str) -> Iterator[StoreServer]:
    """Start a server; skips where it is not installed."""
    program = {"redis": "redis-server", "postgres": "postgres"}[kind]
    if binary(program) is None:
        pytest.skip(f"{program} is not installed: Debian has it in the package {PACKAGES[kind]}")
    # Under /tmp itself, since pytest's own folders are closed to the user that PostgreSQL has to run as.
    with tempfile.TemporaryDirectory(prefix=f"eddy-{kind}-") as name:
        folder = Path(name)
        if kind == "postgres" and os.getuid() == 0:
            nobody = next((user for user in ("postgres", "nobody") if _is_user(user)), None)
            if nobody is None:
                pytest.skip("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
            shutil.chown(folder, nobody)
        server = SERVERS[kind](folder)
        try:
            server.start()
            yield server
        finally:
            server.close()


PACKAGES = {"redis": "redis-server", "postgres": "postgresql"}


def binary(name: str) -> Any:
    """Find a program on the path, or where Debian puts PostgreSQL's; None where there is none."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def owner_of(folder: Path) -> dict[str, Any]:
    """Say whom a process has to run as to own what it writes there."""
    about = folder.stat()
    return {} if about.st_uid == os.getuid() else {"user": about.st_uid, "group": about.st_gid, "extra_groups": []}


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
