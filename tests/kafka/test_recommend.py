"""The recommend flow as it runs in production: a process, a broker, and what goes wrong."""

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.flows import FlowUnderTest, Platform

pytestmark = pytest.mark.kafka


def assert_each_event_has_one_slate(slates: list[dict[str, Any]], n_events: int) -> None:
    """No slate is lost, none is there twice, and each user's count goes on by one."""
    assert len(slates) == n_events
    assert len({slate["recommendation_id"] for slate in slates}) == n_events
    assert {slate["trigger_id"] for slate in slates} == {f"e-{number}" for number in range(n_events)}
    counts = defaultdict(list)
    for slate in slates:
        counts[slate["user_id"]].append(slate["n_events"])
    for user, n_events_of_user in counts.items():
        assert sorted(n_events_of_user) == list(range(1, len(n_events_of_user) + 1)), user


def test_a_flow_that_is_killed_at_random_moments_loses_no_slate_and_writes_none_twice(
    broker: str, topics: Callable[..., str], tmp_path: Path
):
    prefix = topics(2)
    platform = Platform(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store")
    rng = random.Random(7)  # noqa: S311 - no secret is made of it
    try:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            flow.start()
            platform.read("recommendations", platform.n_written)
            for _ in range(4):
                platform.write(100)
                time.sleep(rng.uniform(0, 0.6))
            code = flow.end(number)
            assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL), flow.log.read_text()
        flow.start()
        platform.write(100)
        slates = platform.read("recommendations", platform.n_written)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    assert_each_event_has_one_slate(slates, platform.n_written)


def test_a_second_copy_fences_the_first_and_nothing_is_lost_or_written_twice(
    broker: str, topics: Callable[..., str], tmp_path: Path
):
    prefix = topics(1)
    platform = Platform(broker, prefix)
    first = FlowUnderTest(broker, prefix, tmp_path / "first").start()
    second = FlowUnderTest(broker, prefix, tmp_path / "second")
    try:
        platform.write(200)
        platform.read("recommendations", 200)
        second.start()
        deadline = time.monotonic() + 60
        while first.process is not None and first.process.poll() is None and time.monotonic() < deadline:
            platform.write(20)
            time.sleep(0.2)
        assert first.wait() == 1, first.log.read_text()
        assert "fenced" in first.log.read_text()
        slates = platform.read("recommendations", platform.n_written)
        assert second.end(signal.SIGTERM) == 0, second.log.read_text()
    finally:
        first.close()
        second.close()
    assert_each_event_has_one_slate(slates, platform.n_written)


def test_five_kinds_of_bad_input_leave_five_dead_letters_with_five_reasons_and_slates_go_on(
    broker: str, topics: Callable[..., str], tmp_path: Path
):
    prefix = topics(2)
    platform = Platform(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store").start()
    good = '{"event_id":"x","user_id":"%s","item_id":"i","event_type":"view","timestamp":%s}'
    try:
        platform.write(20)
        for bad in (b"\xff\xfe", b'{"event_id":', good % ("u", '"soon"'), good % ("", 1), good % ("u", 10413792000000)):
            platform.write_raw(bad if isinstance(bad, bytes) else bad.encode())
        platform.write(20)
        slates = platform.read("recommendations", 40)
        letters = platform.read("dead-letters", 5)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    assert_each_event_has_one_slate(slates, 40)
    reasons = sorted(letter["reason"] for letter in letters)
    assert reasons == ["future", "invalid_value", "malformed", "truncated", "wrong_type"]


def test_two_processes_share_the_users_stop_together_and_go_on_as_one(
    broker: str, topics: Callable[..., str], tmp_path: Path
):
    from dataflows.connectors.broker_process import free_port  # noqa: PLC0415

    prefix = topics(4)
    platform = Platform(broker, prefix)
    addresses = f"127.0.0.1:{free_port()};127.0.0.1:{free_port()}"
    store = tmp_path / "store"
    pair = [
        FlowUnderTest(broker, prefix, store, EDDY_CLUSTER__ADDRESSES=addresses, EDDY_CLUSTER__PROCESS_ID=str(number))
        for number in range(2)
    ]
    alone = FlowUnderTest(broker, prefix, store)
    try:
        pair[0].start()
        while not list(store.glob("recommend/part-*")):
            time.sleep(0.1)
        time.sleep(1)
        pair[1].start()
        platform.write(200)
        platform.read("recommendations", 200)
        assert pair[1].end(signal.SIGTERM) == 0, pair[1].log.read_text()
        assert pair[0].wait() == 0, pair[0].log.read_text()
        alone.start()
        platform.write(100)
        slates = platform.read("recommendations", 300)
        assert alone.end(signal.SIGTERM) == 0, alone.log.read_text()
    finally:
        for flow in (*pair, alone):
            flow.close()
    assert_each_event_has_one_slate(slates, 300)
