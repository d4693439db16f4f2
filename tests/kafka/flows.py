"""Flows as processes of their own, and events for them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from dataflows.connectors.broker_process import free_port
from dataflows.connectors.kafka_reader import KafkaReader
from dataflows.connectors.kafka_writer import KafkaWriter

DEADLINE_S = 120


class FlowUnderTest:
    """`eddy run recommend` over one recovery store, as often as a test starts it."""

    def __init__(self, broker: str, prefix: str, store: Path, **settings: str) -> None:
        self._store = store
        self._settings = {
            "EDDY_KAFKA__BOOTSTRAP_SERVERS": broker,
            "EDDY_TOPICS__PREFIX": prefix,
            "EDDY_RECOVERY__FOLDER": str(store),
            "EDDY_RECOVERY__PARTITIONS": "4",
            "EDDY_HTTP__PORT": "0",
        } | settings
        self.process: subprocess.Popen[bytes] | None = None
        store.mkdir(parents=True, exist_ok=True)
        self.log = store / f"log-{free_port()}.txt"

    def start(self) -> "FlowUnderTest":
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataflows", "run", "recommend"],
                env=os.environ | self._settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)


class Platform:
    """Writes events and reads what comes back."""

    def __init__(self, broker: str, prefix: str) -> None:
        self._client: dict[str, Any] = {"bootstrap.servers": broker}
        self._prefix = prefix
        self._events = KafkaWriter(self._client, f"{prefix}events")
        self.n_written = 0

    def write(self, n: int, n_users: int = 20) -> None:
        """Write the next n events, the users in turn."""
        for number in range(self.n_written, self.n_written + n):
            user = f"u-{number % n_users}"
            event = {
                "event_id": f"e-{number}",
                "user_id": user,
                "item_id": f"i-{number % 37}",
                "event_type": "view",
                "timestamp": int(time.time() * 1_000),
            }
            self._events.write(user, orjson.dumps(event))
        self._events.flush()
        self.n_written += n

    def write_raw(self, value: bytes) -> None:
        self._events.write("u-0", value)
        self._events.flush()

    def read(self, topic: str, n: int) -> list[dict[str, Any]]:
        """Read a topic from its beginning until n messages have come, then as long as any arrive."""
        reader = KafkaReader(self._client, [self._prefix + topic])
        read: list[dict[str, Any]] = []
        deadline = time.monotonic() + DEADLINE_S
        try:
            while time.monotonic() < deadline:
                batch = reader.poll(1.0)
                read += [json.loads(record.value or b"{}") for _, record in batch]
                if len(read) >= n and not batch:
                    break
        finally:
            reader.close()
        return read
