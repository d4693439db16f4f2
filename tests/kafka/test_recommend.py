"""The recommend flow as it runs in production: a process, a broker, and what goes wrong."""

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dataflows
from dataflows.demo.broker_process import BrokerProcess, free_port
from dataflows.kafka.admin import create_topics
from dataflows.store.files import reading
from dataflows.store.states import unpickle
from dataflows.topics import declare
from tests.dataflows.store.builders import query
from tests.kafka.flows import DEADLINE_S, FlowUnderTest, Platform

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
        assert n_events_of_user == list(range(1, len(n_events_of_user) + 1)), user


@pytest.mark.slow
def test_a_flow_that_is_killed_at_random_moments_loses_no_slate_and_writes_none_twice(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store")
    rng = random.Random(7)  # noqa: S311 - no secret is made of it
    try:
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            flow.start()
            platform.write(200)
            # A flow that answers has started: before, SIGTERM would end it as it ends any process.
            platform.wait_for("recommendations", platform.n_written)
            for _ in range(rng.randrange(1, 6)):
                platform.write(100)
                time.sleep(rng.uniform(0, 0.4))
            code = flow.end(number)
            assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL), flow.log.read_text()
            platform.write(200)
        flow.start()
        platform.write(4_000 - platform.n_written)
        platform.wait_for("recommendations", platform.n_written)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    slates = platform.read("recommendations")
    assert_each_event_has_one_slate(slates, platform.n_written)


@pytest.mark.slow
@pytest.mark.parametrize("store_of_second", ["of_its_own", "first"])
def test_a_second_copy_fences_the_first_and_nothing_is_lost_or_written_twice(
    broker: str, topics: Callable[..., str], tmp_path: Path, store_of_second: str
) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    first = FlowUnderTest(broker, prefix, tmp_path / "first").start()
    second = FlowUnderTest(broker, prefix, tmp_path / store_of_second)
    try:
        platform.write(200)
        platform.wait_for("recommendations", 200)
        second.start()
        deadline = time.monotonic() + DEADLINE_S
        while first.is_running and time.monotonic() < deadline:
            platform.write(20)
            time.sleep(0.2)
        assert first.wait() == 1, first.log.read_text()
        assert "fenced" in first.log.read_text()
        platform.wait_for("recommendations", platform.n_written)
        assert second.end(signal.SIGTERM) == 0, second.log.read_text()
        second.start()
        platform.write(200)
        platform.wait_for("recommendations", platform.n_written)
        assert second.end(signal.SIGTERM) == 0, second.log.read_text()
    finally:
        first.close()
        second.close()
    slates = platform.read("recommendations")
    assert_each_event_has_one_slate(slates, platform.n_written)


def test_five_kinds_of_bad_input_leave_five_dead_letters_with_five_reasons_and_slates_go_on(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store").start()
    good = '{"event_id":"x","user_id":"%s","item_id":"i","event_type":"view","timestamp":%s}'
    year_2300 = 10_413_792_000_000
    try:
        platform.write(20)
        for bad in (b"\xff\xfe", b'{"event_id":', good % ("u", '"soon"'), good % ("", 1), good % ("u-0", year_2300)):
            platform.write_raw(bad if isinstance(bad, bytes) else bad.encode())
        platform.write(20)
        platform.wait_for("recommendations", 40)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    slates, letters = platform.read("recommendations"), platform.read("dead-letters")
    assert_each_event_has_one_slate(slates, 40)
    reasons = sorted(letter["reason"] for letter in letters)
    assert reasons == ["future", "invalid_value", "malformed", "truncated", "wrong_type"]


def wait_until_swept(store: Path) -> None:
    """Wait until a store has one row a key, all hundred users among them."""
    deadline, counts = time.monotonic() + 60, [0]
    while (max(counts, default=0) != 1 or len(counts) < 100) and time.monotonic() < deadline:
        time.sleep(0.2)
        counts = [n for (n,) in query(store, "SELECT count(*) FROM snaps GROUP BY step_id, state_key")]
    assert max(counts) == 1
    assert len(counts) >= 100


@pytest.mark.slow
def test_two_processes_share_the_users_stop_together_and_go_on_as_one(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
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
        for flow in pair:
            flow.start()
        platform.write(400)
        platform.wait_for("recommendations", 400)
        wait_until_swept(store / "recommend")
        assert pair[1].end(signal.SIGTERM) == 0, pair[1].log.read_text()
        assert pair[0].wait() == 0, pair[0].log.read_text()
        logs = [flow.log.read_text() for flow in pair]
        assert all(" applied" in log for log in logs), logs
        alone.start()
        platform.write(200)
        platform.wait_for("recommendations", 600)
        assert alone.end(signal.SIGTERM) == 0, alone.log.read_text()
    finally:
        for flow in (*pair, alone):
            flow.close()
    slates = platform.read("recommendations")
    assert_each_event_has_one_slate(slates, 600)


def test_after_a_clean_stop_the_consumer_group_stands_at_the_end_of_the_log(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    flow = FlowUnderTest(broker, prefix, tmp_path / "store").start()
    try:
        platform.write(300)
        assert platform.lag("events", f"group-of-no-one-{prefix}") == 300
        platform.wait_for("recommendations", 300)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    assert platform.lag("events", f"{prefix}eddy-recommend") == 0


LARGE_STORES = """
import dataflows.run.worker
dataflows.run.worker.LARGE = 0
"""


@pytest.mark.parametrize("is_large", [False, True])
def test_a_stop_with_a_large_store_writes_no_more_than_what_has_changed_and_leaves_nothing_to_repeat(
    broker: str, topics: Callable[..., str], tmp_path: Path, *, is_large: bool
) -> None:
    prefix = topics(2)
    platform = Platform(broker, prefix)
    (tmp_path / "sitecustomize.py").write_text(LARGE_STORES if is_large else "")
    path = os.pathsep.join((str(tmp_path), str(Path(dataflows.__file__).parents[1])))
    flow = FlowUnderTest(
        broker, prefix, tmp_path / "store", EDDY_RECOVERY__EPOCH_INTERVAL_S="1", PYTHONPATH=path
    ).start()
    try:
        platform.write(300)
        platform.wait_for("recommendations", 300)
        time.sleep(3)  # all 100 users are in a snapshot, and rest
        platform.write_acts(["u-0"] * 5)
        platform.wait_for("recommendations", 305)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
        with reading(tmp_path / "store" / "recommend") as moment:
            newest = moment.newest()
        users = {key: row.epoch for (step, key), row in newest.items() if step == "recommend.profile"}
        written_last = [key for key, epoch in users.items() if epoch == max(users.values())]
        read, written = (
            sum(unpickle(row.change or b"")[0] for (step, _), row in newest.items() if step == f"recommend.{topic}")
            for topic in ("events", "recommendations")
        )
        assert len(users) == 100
        assert sorted(written_last) == (["u-0"] if is_large else sorted(users))
        assert read == 305
        assert written >= 305  # behind the last slate of each partition, so that nothing is owed
        assert platform.lag("events", f"{prefix}eddy-recommend") == 0
        flow.start()
        platform.write(100)
        platform.wait_for("recommendations", 405)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    assert_each_event_has_one_slate(platform.read("recommendations"), 405)


@pytest.mark.slow
def test_a_broker_that_is_away_for_a_while_stops_no_flow_and_costs_no_slate(
    own_broker: Callable[..., BrokerProcess], tmp_path: Path
) -> None:
    process = own_broker(tmp_path / "broker")
    servers, prefix = process.broker.bootstrap_servers, "outage-"
    create_topics({"bootstrap.servers": servers}, declare(prefix), 1)
    platform = Platform(servers, prefix)
    flow = FlowUnderTest(servers, prefix, tmp_path / "store").start()
    try:
        platform.write(200)
        platform.wait_for("recommendations", 200)
        process.stop()
        time.sleep(3)
        assert flow.is_running, flow.log.read_text()
        process.start()
        platform.write(200)
        platform.wait_for("recommendations", 400)
        assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        flow.close()
    slates = platform.read("recommendations")
    assert_each_event_has_one_slate(slates, 400)
