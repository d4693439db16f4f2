"""The learn flow as a process that is killed while it trains a ranker."""

import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dataflows.kafka.reader import scan
from dataflows.kafka.writer import KafkaWriter
from models.online.registry import VersionRegistry
from models.online.versions import PREFIX
from tests.flows.feedback import a_slate, a_stream
from tests.flows.learning import an_event
from tests.kafka.flows import DEADLINE_S, FlowUnderTest

pytestmark = pytest.mark.kafka

N, N_USERS, CHUNKS = 640, 40, 4
SETTINGS = {
    "EDDY_LOG_LEVEL": "info",
    "EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S": "0",
    "EDDY_LEARN__SHARDS": "2",
    "EDDY_ATTRIBUTION__WINDOW_S": "600",
    "EDDY_ATTRIBUTION__LATENESS_S": "60",
    "EDDY_RANKER__NAME": "linear",
    "EDDY_RANKER__LEARNING_RATE": "0.01",
    "EDDY_RANKER__BATCH_SIZE": "8",
    "EDDY_RANKER__PUBLISH_EVERY": "1",
    "EDDY_RANKER__MIN_JUDGED": "16",
    "EDDY_RANKER__GUARD_SLATES": "64",
    "EDDY_RANKER__ALPHA": "0.99",
}
"""The guard lets through what it can: with fewer versions than two, nothing would go on."""


class Feedback:
    """Writes slates and what came of them, a part at a time."""

    def __init__(self, broker: str, prefix: str) -> None:
        client = {"bootstrap.servers": broker}
        self._slates, self._events = (KafkaWriter(client, prefix + name) for name in ("recommendations", "events"))
        self._stream = a_stream(N, N_USERS)

    def write(self, part: int) -> None:
        slates, events = self._stream
        size = N // CHUNKS
        for slate in slates[part * size : (part + 1) * size]:
            self._slates.write(slate.key, slate.value)
        for event in events[2 * part * size : 2 * (part + 1) * size]:
            self._events.write(event.key, event.value)
        self._flush()

    def let_time_pass(self) -> None:
        """Write a slate and an event of each user long after the others, whose windows close by it."""
        for user in range(N_USERS):
            slate = a_slate(N + 10_000 + user, f"u-{user}")
            event = an_event(10 * (N + 10_000), f"u-{user}")
            self._slates.write(slate.key, slate.value)
            self._events.write(f"u-{user}", event.value)
        self._flush()

    def _flush(self) -> None:
        self._slates.flush()
        self._events.flush()


def wait_for(flow: FlowUnderTest, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while flow.log.read_text().count(text) < times:
        assert flow.is_running, flow.log.read_text()
        assert time.monotonic() < deadline, flow.log.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_a_learner_that_is_killed_at_random_moments_learns_each_slate_once_and_its_versions_go_on(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    feedback = Feedback(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store", "learn", **SETTINGS)
    rng = random.Random(3)  # noqa: S311 - no secret is made of it
    try:
        for part in range(CHUNKS):
            flow.start()
            wait_for(flow, "learn runs on", part + 1)
            feedback.write(part)
            if part == CHUNKS // 2:
                wait_for(flow, "progressive loss")  # else a slow machine would learn all in the last run, at once
            if part < CHUNKS - 1:
                time.sleep(rng.uniform(0.2, 2.0))
                assert flow.end(signal.SIGKILL) == -signal.SIGKILL
        feedback.let_time_pass()
        wait_for(flow, f"after {N} slates")
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    # A slate that was learned twice would count twice.
    assert max(map(int, re.findall(r"after (\d+) slates", flow.log.read_text()))) == N
    registry = VersionRegistry()
    for record in scan({"bootstrap.servers": broker}, f"{prefix}model-updates"):
        if (record.key or b"").startswith(PREFIX):
            registry.take(record.key or b"", record.value)
    numbers = [version.number for version in registry.versions("linear")]
    assert len(set(numbers)) == len(numbers) > 1
    assert [name for name, _ in registry.changes()] == ["linear"]
