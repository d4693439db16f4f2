"""One user's attribution beside a clock that is given in."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from dataflows.following.erasures import Erased
from dataflows.steps.alarms import Alarms
from dataflows.steps.attribute import AttributeLogic, AttributeStep
from dataflows.steps.rest import Rested
from models.config import AttributionConfig
from models.names import EVENT_WEIGHTS
from models.online.outcome import ClosedSlate
from tests.flows.feedback import CLOCK, later
from tests.models.online.builders import a_slate, an_event


class User:
    """A user's logic, and the clock that it looks at."""

    def __init__(self, forget_after_s: int = 1_000) -> None:
        self.now = CLOCK
        self.counts: Counter[str] = Counter()
        config = AttributionConfig(window_s=60, lateness_s=10)
        self.step = AttributeStep(
            config, EVENT_WEIGHTS, timedelta(seconds=forget_after_s), lambda: self.now, self.counts
        )
        self.logic = AttributeLogic(None, self.step)

    def tell(self, *messages: object) -> list[ClosedSlate]:
        emitted, _ = self.logic.on_batch(list(messages))  # type: ignore[arg-type]
        return list(emitted)

    def restart(self) -> None:
        self.logic = AttributeLogic(self.logic.snapshot(), self.step)


def test_an_idle_users_slates_are_decided_by_the_clock_and_not_before_their_windows_close():
    user = User()
    user.tell(an_event(0), a_slate(0))
    assert user.logic.notify_at() == later(70)
    user.now = later(69.999)
    assert list(user.logic.on_notify()[0]) == []
    user.now = later(70)
    [slate] = user.logic.on_notify()[0]
    assert [outcome.label for outcome in slate.outcomes] == [1.0, 0.0, 0.0]


def test_a_topic_that_is_read_ahead_closes_nothing():
    user = User()
    assert user.tell(a_slate(0), *(an_event(second) for second in range(0, 5_000, 50))) == []
    [slate] = user.tell(a_slate(100))
    assert slate.outcomes[0].recommendation_id == "r-0"


def test_time_goes_on_after_a_restart():
    user = User()
    user.tell(an_event(0), a_slate(0))
    user.now = later(500)
    user.restart()
    assert list(user.logic.on_notify()[0]) == []
    assert user.logic.notify_at() == later(570)


def test_an_idle_user_is_forgotten_and_one_who_comes_back_in_time_is_not():
    user = User(forget_after_s=100)
    user.tell(an_event(0))
    assert user.logic.notify_at() == later(100)
    user.now = later(99)
    user.tell(an_event(99))
    user.now = later(100)
    assert user.logic.on_notify()[1] == AttributeLogic.RETAIN
    user.now = later(199)
    assert user.logic.on_notify()[1] == AttributeLogic.DISCARD


def test_what_cannot_be_attributed_is_counted_by_its_reason():
    user = User()
    user.tell(
        a_slate(0), a_slate(0), an_event(1), an_event(1), an_event(2, consent=False), an_event(3, kind="impression")
    )
    assert user.counts == {"attribution_repeated": 2, "attribution_no_consent": 1, "attributed_slates": 0}


def test_after_an_erasure_nothing_is_known_of_the_user():
    user = User()
    event, slate = an_event(1), a_slate(0)
    until = max(event.timestamp, slate.created_at)
    erased = Erased(slate.user_id, 1, (1,), "x-1", until)
    emitted, discard = user.logic.on_batch([slate, event, erased])
    assert [(part.place, part.before, part.after) for part in emitted] == [("learn.attribute", 3, 0)]
    assert discard is AttributeLogic.DISCARD
    again, discard = user.logic.on_batch([slate, event])
    assert (list(again), discard, user.counts["before_erasure"]) == ([], AttributeLogic.DISCARD, 2)


def with_alarms(clock: Callable[[], datetime], most_in_engine: int) -> tuple[Alarms, AttributeStep]:
    """Make the step of a flow over a store, whose engine is told of so many users."""
    alarms = Alarms(clock, most_in_engine)
    config = AttributionConfig(window_s=60, lateness_s=10)
    return alarms, AttributeStep(config, EVENT_WEIGHTS, timedelta(days=1), clock, Counter(), alarms=alarms)


def test_of_many_users_the_engine_is_told_of_some_and_the_others_close_with_what_comes_next():
    now = [CLOCK]
    alarms, step = with_alarms(lambda: now[0], 2)
    users = {f"u-{n}": AttributeLogic(None, step) for n in range(5)}
    for key, user in users.items():
        user.on_batch([replace(an_event(0), user_id=key), a_slate(0, user_id=key)])
    told = {key for key, user in users.items() if user.notify_at() is not None}
    assert told == {"u-0", "u-1"}
    assert alarms.due() == []
    now[0] = later(71)
    closed = {key: users[key].on_notify()[0] for key in told} | {
        key: users[key].on_batch([Rested(0)])[0] for key in alarms.due()
    }
    assert {key: len(list(slates)) for key, slates in closed.items()} == dict.fromkeys(users, 1)
    assert alarms.due() == []
    assert [user.notify_at() for user in users.values()] == [None] * len(users)


def test_a_place_with_the_engine_is_free_again_once_a_user_goes():
    _, step = with_alarms(lambda: CLOCK, 1)
    first, second = AttributeLogic(None, step), AttributeLogic(None, step)
    first.on_batch([an_event(0), a_slate(0)])
    assert first.notify_at() is not None
    assert first.on_batch([Erased("u", 1, (1,), "x-1", 1 << 42)])[1] is first.DISCARD
    second.on_batch([an_event(0), a_slate(0)])
    assert second.notify_at() is not None


def test_a_place_with_the_engine_is_free_again_once_nothing_waits():
    now = [CLOCK]
    _, step = with_alarms(lambda: now[0], 1)
    for second in (0, 1_000, 2_000):
        user = AttributeLogic(None, step)
        now[0] = later(second)
        user.on_batch([an_event(second), a_slate(second)])
        assert user.notify_at() == later(second + 70)
        now[0] = later(second + 80)
        assert len(list(user.on_batch([an_event(second + 75)])[0])) == 1
        assert user.notify_at() is None


def test_a_clock_that_goes_back_loses_no_alarm():
    now = [later(0)]
    alarms, step = with_alarms(lambda: now[0], 0)
    user = AttributeLogic(None, step)
    user.on_batch([an_event(0), a_slate(0)])
    assert user.notify_at() is None
    now[0] = later(71)
    assert alarms.due() == ["u-1"]
    now[0] = later(60)
    assert list(user.on_batch([Rested(0)])[0]) == []
    assert user.notify_at() is None
    now[0] = later(72)
    assert alarms.due() == ["u-1"]
    assert len(list(user.on_batch([Rested(0)])[0])) == 1


def test_an_alarm_that_rings_beside_a_message_is_set_again():
    now = [later(0)]
    alarms, step = with_alarms(lambda: now[0], 0)
    user = AttributeLogic(None, step)
    user.on_batch([an_event(0), a_slate(0)])
    user.notify_at()
    now[0] = later(71)
    assert alarms.due() == ["u-1"]
    user.on_batch([Rested(0), a_slate(50)])
    user.notify_at()
    now[0] = later(400)
    assert alarms.due() == ["u-1"]
