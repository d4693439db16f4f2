"""One installation that a fault happens to: topics, events, flows, and a strict count at the end."""

import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from confluent_kafka.admin import AdminClient

from dataflows.chaos.audit import audit
from dataflows.chaos.installation import EXPERIMENTS
from dataflows.kafka.admin import create_topics
from dataflows.kafka.reader import scan
from dataflows.topics import declare
from tests.kafka.flows import DEADLINE_S, FlowUnderTest, Platform


class Scene:
    """Topics under a prefix of their own, whoever writes events to them, and the flows that read those.

    Parameters
    ----------
    folder : for recovery stores and logs.
    """

    def __init__(self, servers: str, folder: Path, partitions: int = 2, **settings: str) -> None:
        self.client: dict[str, Any] = {"bootstrap.servers": servers}
        self.prefix = f"fault-{uuid.uuid4().hex[:8]}-"
        self.folder = folder
        self.store = folder / "recovery"
        self.admin = AdminClient(self.client)
        create_topics(self.client, declare(self.prefix), partitions)
        self.platform = Platform(servers, self.prefix)
        (folder / "experiments.yaml").write_text(EXPERIMENTS)
        self._settings = {
            "EDDY_EXPERIMENTS_FILE": str(folder / "experiments.yaml"),
            "EDDY_RECOVERY__EPOCH_INTERVAL_S": "1",
            "EDDY_LOG_LEVEL": "warning",
            "RUST_BACKTRACE": "0",
        } | settings
        self._servers = servers
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def flow(self, name: str = "recommend", *, store: Path | None = None, **settings: str) -> FlowUnderTest:
        """Start a flow, on the scene's store or another; it is ended with the scene."""
        flow = FlowUnderTest(self._servers, self.prefix, store or self.store, name, **self._settings, **settings)
        self._stack.callback(flow.close)
        return flow.start()

    def topic(self, name: str) -> str:
        return self.prefix + name

    def delete(self, name: str) -> None:
        """Delete a topic, and wait until it is gone."""
        topic = self.topic(name)
        self.admin.delete_topics([topic])[topic].result()
        deadline = time.monotonic() + DEADLINE_S
        while topic in self.admin.list_topics(timeout=10).topics:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def make_topics(self, partitions: int = 2) -> None:
        create_topics(self.client, declare(self.prefix), partitions)

    def count(self) -> str:
        """Assert that each event has its slate, each bad message its letter, each user an assignment, once."""
        records = {
            # In the order of their times: where topics have grown, a user's slates lie in several partitions.
            name: sorted(scan(self.client, self.topic(name)), key=lambda record: record.timestamp)
            for name in ("recommendations", "dead-letters", "assignments")
        }
        found = audit(self.platform.sent, *records.values())
        assert not any((*found.lost.values(), *found.duplicated.values(), found.state_jumps)), found
        return f"{len(self.platform.sent.events):,} events, nothing lost, nothing there twice"

    def is_behind(self) -> bool:
        """Whether there are events that are in no snapshot of `recommend` yet."""
        return self.platform.lag("events", f"{self.prefix}eddy-recommend") > 0

    def wait_for_snapshot(self) -> None:
        """Wait until all events are in a snapshot of `recommend`: its group is told the offset once one holds it."""
        deadline = time.monotonic() + DEADLINE_S
        while self.is_behind():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def drain_and_count(self, flow: FlowUnderTest) -> str:
        """Wait for the last slate, stop the flow, and count."""
        try:
            self.platform.wait_for("recommendations", self.platform.n_written)
        except AssertionError as error:
            state = "runs" if flow.is_running else "has ended"
            raise AssertionError(f"{error}; the flow {state}: {flow.log.read_text()[-3_000:]}") from None
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
        return self.count()


def last_words(flow: FlowUnderTest, *words: str) -> str:
    """Wait until a flow has stopped by itself, and return the message with which it did: its own, and no traceback."""
    code, text = flow.wait(), flow.log.read_text()
    assert code == 1, (code, text)
    assert "Traceback" not in text, text
    message = [line for line in text.splitlines() if line.startswith("eddy: ")][-1]
    for word in words:
        assert word in message, message
    return f"stopped: {message.removeprefix('eddy: ')}"


@contextmanager
def steady_events(platform: Platform, rate: float = 100.0) -> Iterator[None]:
    """Write events on a thread of its own, all the while."""
    ending = threading.Event()

    def write() -> None:
        while not ending.wait(10 / rate):
            platform.write(10)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
