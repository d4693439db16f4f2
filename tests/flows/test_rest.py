"""Who has rested for long is forgotten: the store tells, and the engine is told of nobody."""

import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.alarms import Alarms
from dataflows.steps.attribute import AttributeLogic, AttributeStep
from dataflows.steps.decode import Received
from dataflows.steps.profile import ProfileLogic, profile_step
from dataflows.steps.rest import FIRST_LOOK, Rested, Resting
from dataflows.steps.transitions import TransitionsLogic
from dataflows.steps.user_metrics import Observed, UserMetricsLogic
from dataflows.store.files import holding
from dataflows.store.rested import look_up, rested
from models.config import AttributionConfig, HistoryConfig, OutcomeConfig, ProfileConfig
from models.experiments.assign.assignment import Experiments
from models.experiments.judge.observations import Act
from models.items import ItemTable
from models.messages import Event
from models.names import EVENT_WEIGHTS
from tests.dataflows.store.builders import PROFILES, a_store, files_of, keys_of, opened
from tests.flows.feedback import later
from tests.flows.test_forgetting import STOP
from tests.flows.test_learn_steps import an_act
from tests.flows.test_recommend import NOW, Run, an_event
from tests.models.online.builders import a_slate
from tests.models.online.builders import an_event as feedback

DAY = timedelta(days=1)
LONG = Rested(10_000 * 86_400_000)
LONG_AGO = "2001-01-01 00:00:00"


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.fromtimestamp(NOW / 1_000, UTC))


def resting_after(days: int, pages: list[list[tuple[str, int]]], clock: Clock) -> Resting:
    resting = Resting(lambda _before: iter(pages), days * DAY, clock)
    clock.now += FIRST_LOOK
    return resting


def test_nobody_is_looked_for_right_after_a_start(clock: Clock):
    resting = Resting(lambda _before: iter([[("u", 0)]]), 90 * DAY, clock)
    assert resting.due() == []
    clock.now += FIRST_LOOK
    assert [key for key, _ in resting.due()] == ["u"]


def test_those_are_told_who_have_rested_page_by_page_and_once_more_the_next_day(clock: Clock):
    at = NOW + 600_000
    resting = resting_after(1, [[], [("old", at - 2 * 86_400_000)], [("just", at - 86_400_000)]], clock)
    told = []
    for _ in range(6):
        told.append(resting.due())
        clock.now += timedelta(seconds=1)
    assert told == [[], [("old", Rested(172_801_000))], [("just", Rested(86_402_000))], [], [], []]
    clock.now += DAY / 8
    assert resting.due() == []
    clock.now += timedelta(seconds=1)
    assert [key for key, _ in resting.due()] == ["old"]


def test_of_a_backlog_nobody_is_told(clock: Clock):
    """Who acted while the flow was down is in it, and would be forgotten amid their return."""
    caught_up = [False]
    resting = Resting(lambda _before: iter([[("u", 0)]]), DAY, clock, lambda: caught_up[0])
    clock.now += DAY
    assert resting.due() == []
    clock.now += timedelta(seconds=1)
    caught_up[0] = True
    assert [key for key, _ in resting.due()] == ["u"]


def test_a_store_that_cannot_be_read_stops_nothing_and_is_tried_again(clock: Clock, caplog: pytest.LogCaptureFixture):
    def broken(_before: int) -> Iterator[list[tuple[str, int]]]:
        yield [("u", 0)]
        raise OSError("disk I/O error")

    resting = Resting(broken, DAY, clock)
    clock.now += FIRST_LOOK
    with caplog.at_level(logging.WARNING):
        found = [resting.due()]
        clock.now += timedelta(seconds=1)
        found.append(resting.due())
    assert [len(page) for page in found] == [1, 0]
    assert "disk I/O error" in caplog.text
    clock.now += DAY
    assert len(resting.due()) == 1


def test_a_store_says_who_was_written_last_before_a_time_and_leaves_out_who_is_gone(tmp_path: Path):
    rows = [(PROFILES, f"u-{n}", epoch, (b"", n)) for n in range(7) for epoch in (1, 2)]
    store = a_store(tmp_path / "store", [*rows, (PROFILES, "u-3", 3, None), ("learn.transitions", "u-9", 1, b"")], 1)
    written_at = 1_577_836_800_000
    for path in files_of(store):
        with opened(path) as file:
            file.execute("UPDATE snaps SET created_at = ? WHERE snap_epoch < 2", (LONG_AGO,))
            file.execute("UPDATE snaps SET created_at = '2020-01-01 00:00:00' WHERE snap_epoch = 2")
    assert list(rested(store, PROFILES, written_at)) == []
    assert dict(rested(store, PROFILES, written_at + 1)) == {f"u-{n}": written_at for n in range(7) if n != 3}
    assert {key for page in looked_up(store, written_at + 1) for key, _ in page} == {
        f"u-{n}" for n in range(7) if n != 3
    }


def looked_up(store: Path, before_ms: int) -> list[list[tuple[str, int]]]:
    pages = []
    for page in look_up(store, PROFILES, before_ms):
        pages.append(page)
        time.sleep(0.01)
    return pages


def test_a_look_that_fails_says_so(tmp_path: Path):
    (tmp_path / "part-0.sqlite3").write_text("no database, for it is too short to be one")
    with pytest.raises(OSError, match=r"exit code 1: .*not a database"):
        looked_up(tmp_path, 1)


def test_a_look_leaves_a_flow_its_store(tmp_path: Path):
    """Opened and closed within the flow, the store was free for anybody, and the next large snapshot was a SIGBUS."""
    store = tmp_path / "store"
    take = f"import pathlib, dataflows.store.files as files; files.holding(pathlib.Path({str(store)!r})).__enter__()"
    said: list[str] = []

    def find_rested(_step_id: str, after: timedelta) -> Resting:
        def look(before_ms: int) -> Iterator[list[tuple[str, int]]]:
            pages = looked_up(store, before_ms)
            taken = subprocess.run([sys.executable, "-c", take], check=False, capture_output=True, text=True)
            said.append(taken.stderr)
            yield from pages

        return Resting(look, after, ticking())

    Run([an_event(n) for n in range(40)], store=store, find_rested=find_rested).run()
    assert said
    assert all("is using this recovery store" in text for text in said)
    with holding(store):
        pass


def ticking() -> Callable[[], datetime]:
    """Make a clock that is a day further each time."""
    days = count()
    return lambda: datetime.now(UTC) + next(days) * DAY


def test_a_user_whom_the_store_has_not_seen_for_long_is_gone_after_the_next_look(tmp_path: Path):
    store = tmp_path / "store"

    def find_rested(_step_id: str, after: timedelta) -> Resting:
        return Resting(lambda before_ms: filter(None, looked_up(store, before_ms)), after, ticking())

    messages = [
        an_event(0, user_id="away"),
        an_event(1, user_id="here"),
        STOP,
        *(an_event(n, user_id="other") for n in range(2, 40)),
    ]
    run = Run(messages, store=store, find_rested=find_rested)
    run.run()
    assert {"away", "here"} <= set(keys_of(store))
    for path in files_of(store):
        with opened(path) as file:
            file.execute("UPDATE snaps SET created_at = ? WHERE state_key = 'away'", (LONG_AGO,))
    run.run()
    assert {key for page in looked_up(store, 1 << 50) for key, _ in page} == {"here", "other"}


def profile(clock: Clock, state: object = None) -> ProfileLogic:
    step = profile_step(Settings(), Experiments(), ItemTable(NOW), clock, Counter(), is_swept=True)
    return ProfileLogic(state, step)  # type: ignore[arg-type]


def test_a_profile_goes_when_it_has_rested_and_not_when_a_message_has_come_since(clock: Clock):
    user = profile(clock)
    event = Received(Event("e-1", "u", "i-1", "view", NOW), Record(0, 0, NOW, b"u", b""), "u")
    assert user.on_batch([event])[1] is user.RETAIN
    assert user.notify_at() is None
    assert user.on_batch([LONG]) == ((), user.RETAIN)
    resumed = profile(clock, user.snapshot())
    assert resumed.notify_at() is None
    assert resumed.on_batch([LONG, event])[1] is resumed.RETAIN
    assert profile(clock, user.snapshot()).on_batch([LONG]) == ((), user.DISCARD)
    assert profile(clock).on_batch([LONG]) == ((), user.DISCARD)


def test_what_a_user_taught_goes_in_two_steps(clock: Clock):
    config, history = ProfileConfig(), HistoryConfig()

    def resumed(packed: bytes | None) -> TransitionsLogic:
        return TransitionsLogic(packed, config, clock, Counter(), history, is_swept=True)

    user = resumed(None)
    user.on_batch([an_act("a")])
    assert user.notify_at() is None
    assert user.on_batch([LONG]) == ((), user.RETAIN)
    packed, acted_at = user.snapshot(), clock.now
    month = Rested(history.history_ms)
    clock.now = acted_at + timedelta(milliseconds=history.history_ms)
    user = resumed(packed)
    assert user.on_batch([month]) == ((), user.RETAIN)
    assert user._user.n_kept == 0
    clock.now = acted_at + timedelta(milliseconds=config.expire_after_ms)
    user = resumed(user.snapshot())
    assert user.on_batch([month]) == ((), user.DISCARD)


def test_what_was_measured_of_a_user_goes_when_it_has_rested(clock: Clock):
    def resumed(packed: bytes | None) -> UserMetricsLogic:
        return UserMetricsLogic(packed, OutcomeConfig(), AttributionConfig(), 90 * DAY, clock, Counter(), is_swept=True)

    user = resumed(None)
    act = Act(at=NOW, id=1, item=2, value=None, is_goal=False, is_rating=False, slate=0, written_at=NOW)
    assert user.on_batch([Observed("u", act)])[1] is user.RETAIN
    assert user.notify_at() is None
    assert user.on_batch([LONG]) == ((), user.RETAIN)
    assert resumed(user.snapshot()).on_batch([LONG]) == ((), user.DISCARD)


def test_slates_that_wait_are_closed_before_their_user_goes():
    config = AttributionConfig(window_s=60, lateness_s=10)
    now = [later(0)]
    step = AttributeStep(config, EVENT_WEIGHTS, DAY, lambda: now[0], Counter(), alarms=Alarms(lambda: now[0]))
    user = AttributeLogic(None, step)
    user.on_batch([feedback(0), a_slate(0)])
    assert user.notify_at() == later(70)
    assert user.on_batch([LONG]) == ([], user.RETAIN)
    now[0] = later(0) + 2 * DAY
    resumed = AttributeLogic(user.snapshot(), step)
    now[0] += timedelta(seconds=20)
    closed, goes = resumed.on_batch([Rested(2 * 86_400_000)])
    assert ([len(slate.outcomes) > 0 for slate in closed], goes) == ([True], user.DISCARD)
    assert AttributeLogic(resumed.snapshot(), step).notify_at() is None
