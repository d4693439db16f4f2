"""Flows as processes of their own, and events for them."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from dataflows.chaos.event_writer import Written
from dataflows.demo.broker_process import free_port
from dataflows.kafka.lag import GroupLag
from dataflows.kafka.reader import KafkaReader, scan
from dataflows.kafka.writer import KafkaWriter

DEADLINE_S = 300


class FlowUnderTest:
    """`eddy run` of one flow over one recovery store, as often as a test starts it."""

    def __init__(self, broker: str, prefix: str, store: Path, flow: str = "recommend", **settings: str) -> None:
        self._flow = flow
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
                [sys.executable, "-m", "dataflows", "run", self._flow],
                env=os.environ | self._settings,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, number: int) -> int:
        """Send a signal; return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def close(self) -> None:
        if self.is_running:
            self.end(signal.SIGKILL)


class Platform:
    """Writes events and reads what comes back."""

    def __init__(self, broker: str, prefix: str) -> None:
        self._client: dict[str, Any] = {"bootstrap.servers": broker}
        self._prefix = prefix
        self._events = KafkaWriter(self._client, f"{prefix}events", timeout_s=DEADLINE_S)
        self.n_written = 0
        self.sent = Written()

    def write(self, n: int, n_users: int = 100) -> None:
        """Write the next n events, the users in turn."""
        self.write_acts([f"u-{number % n_users}" for number in range(self.n_written, self.n_written + n)])

    def write_acts(self, users: list[str], event_type: str = "view", at: int | None = None) -> None:
        """Write an event of each user, now or at another time (Unix milliseconds)."""
        for number, user in enumerate(users, self.n_written):
            event = {
                "event_id": f"e-{number}",
                "user_id": user,
                "item_id": f"i-{number % 37}",
                "event_type": event_type,
                "timestamp": at or int(time.time() * 1_000),
            }
            self._events.write(user, orjson.dumps(event))
            self.sent.events[event["event_id"]] = user
        self._events.flush()
        self.n_written += len(users)

    def write_raw(self, value: bytes) -> None:
        self._events.write("u-0", value)
        self._events.flush()
        self.sent.bad.append(value.decode(errors="replace"))

    def wait_for(self, topic: str, n: int) -> None:
        """Wait until a topic holds n messages."""
        reader, n_read = KafkaReader(self._client, [self._prefix + topic]), 0
        deadline = time.monotonic() + DEADLINE_S
        try:
            while n_read < n:
                assert time.monotonic() < deadline, f"{topic} holds {n_read} messages, not {n}"
                n_read += sum(len(batch.records) for batch in reader.poll(0.1))
        finally:
            reader.close()

    def read(self, topic: str) -> list[dict[str, Any]]:
        """Read all that a topic holds: once its flow has stopped, all that it will ever hold.

        The messages of one partition, and so of one user, come in the order in which they were written.
        """
        return [json.loads(record.value or b"{}") for record in scan(self._client, self._prefix + topic)]

    def lag(self, topic: str, group: str) -> int:
        """Count the messages of a topic that lie after the group's committed offsets."""
        with closing(GroupLag(self._client, group, [self._prefix + topic])) as lag:
            return sum(lag.by_partition(DEADLINE_S))
