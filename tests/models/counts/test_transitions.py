from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ProfileConfig
from models.counts.transitions import (
    MAX_SEEN,
    N_EARLIER,
    STEPS,
    Contribution,
    UserTransitions,
    act_of,
)
from models.events import EventConfig
from models.messages import Event
from models.numeric.ids import hash64
from models.numeric.windows import SessionWindows
from models.user.profile import EventOutcome, Profile
from tests import places
from tests.models.counts.builders import DAY, NOW, SECOND, an_act

MINUTE = 60 * SECOND
EVENTS = EventConfig(segment_fields=("device",))
GOLDEN = places.GOLDEN / "user_transitions_v1.bin"


def a_user(**changes: int) -> UserTransitions:
    return UserTransitions(ProfileConfig(**changes))


def an_event(event_type: str = "view", **changes: object) -> Event:
    fields = {"event_id": "e-1", "user_id": "u-1", "item_id": "i-1", "timestamp": NOW}
    return Event(event_type=event_type, **(fields | changes))  # type: ignore[arg-type]


def previous(user: UserTransitions, item: str, at: int, session: str | None = None) -> list[int]:
    result = user.apply(an_act(item, at, session=session))
    assert isinstance(result, Contribution)
    return list(result.previous)


def hashes(*items: str) -> list[int]:
    return [hash64(item) for item in items]


def test_an_event_goes_on_from_the_items_before_it_newest_first():
    user = a_user()
    assert previous(user, "a", NOW) == []
    assert previous(user, "b", NOW + SECOND) == hashes("a")
    assert previous(user, "c", NOW + 2 * SECOND) == hashes("b", "a")


def test_a_repeated_item_counts_at_both_of_its_steps():
    user = a_user()
    for second, item in enumerate("aba"):
        found = previous(user, item, NOW + second * SECOND)
    assert found == hashes("b", "a")


def test_ten_items_back_is_the_end():
    user = a_user()
    for number in range(15):
        found = previous(user, f"i-{number}", NOW + number)
    assert found == hashes(*(f"i-{number}" for number in range(13, 3, -1)))
    assert len(found) == STEPS


def earlier(user: UserTransitions, item: str, at: int, session: str | None = None) -> list[tuple[int, int]]:
    result = user.apply(an_act(item, at, session=session))
    assert isinstance(result, Contribution)
    return [tuple(act) for act in result.earlier]


def test_what_was_done_in_earlier_sessions_comes_with_the_seconds_since_newest_first():
    user, day_s = a_user(), DAY // SECOND
    assert earlier(user, "a", NOW) == []
    assert earlier(user, "b", NOW + SECOND) == []
    assert earlier(user, "c", NOW + DAY) == [(hash64("b"), day_s - 1), (hash64("a"), day_s)]
    assert earlier(user, "d", NOW + DAY + SECOND) == [(hash64("b"), day_s), (hash64("a"), day_s + 1)]


def test_of_a_session_that_runs_longer_than_a_pair_reaches_nothing_counts_as_an_earlier_one():
    user = a_user()
    for number in range(2 * STEPS):
        assert earlier(user, f"i-{number}", NOW + number) == []


def test_where_habits_are_within_sessions_as_well_every_earlier_act_makes_one():
    user, day_s = UserTransitions(ProfileConfig(habits_within=True)), DAY // SECOND
    assert earlier(user, "a", NOW) == []
    assert earlier(user, "b", NOW + SECOND) == [(hash64("a"), 1)]
    assert earlier(user, "c", NOW + DAY) == [(hash64("b"), day_s - 1), (hash64("a"), day_s)]
    assert previous(user, "d", NOW + DAY + SECOND) == hashes("c")


def test_ten_acts_of_earlier_sessions_are_the_end():
    user = a_user()
    for number in range(15):
        found = earlier(user, f"i-{number}", NOW + number * DAY)
    assert [item for item, _ in found] == hashes(*(f"i-{number}" for number in range(13, 3, -1)))
    assert len(found) == N_EARLIER


def test_an_act_on_another_device_is_one_of_an_earlier_session():
    user = a_user()
    assert earlier(user, "a", NOW, session="phone") == []
    assert earlier(user, "x", NOW + SECOND, session="laptop") == [(hash64("a"), 1)]


def test_a_pause_of_exactly_the_gap_does_not_end_the_session():
    user = a_user()
    previous(user, "a", NOW)
    assert previous(user, "b", NOW + 30 * MINUTE) == hashes("a")


def test_a_longer_pause_ends_the_session():
    user = a_user()
    previous(user, "a", NOW)
    assert previous(user, "b", NOW + 30 * MINUTE + 1) == []


def test_the_platform_session_decides_whatever_the_gap():
    user = a_user()
    previous(user, "a", NOW, session="s-1")
    assert previous(user, "b", NOW + 60 * MINUTE, session="s-1") == hashes("a")
    assert previous(user, "c", NOW + 60 * MINUTE + 1, session="s-2") == []


def test_two_devices_do_not_mix():
    user = a_user()
    previous(user, "a", NOW, session="phone")
    previous(user, "x", NOW + 1, session="laptop")
    assert previous(user, "b", NOW + 2, session="phone") == hashes("a")
    assert previous(user, "y", NOW + 3, session="laptop") == hashes("x")


def test_an_event_out_of_order_goes_on_from_the_items_before_its_own_time():
    user = a_user()
    previous(user, "a", NOW)
    previous(user, "c", NOW + 2 * SECOND)
    assert previous(user, "b", NOW + SECOND) == hashes("a")
    assert previous(user, "d", NOW + 3 * SECOND) == hashes("c", "b", "a")


def test_an_event_at_the_edge_of_the_lateness_still_teaches():
    user = a_user()
    previous(user, "a", NOW)
    assert user.apply(an_act("b", NOW - 10 * MINUTE - 1)) == "late"
    assert isinstance(user.apply(an_act("b", NOW - 10 * MINUTE)), Contribution)


def test_an_event_teaches_once():
    user = a_user()
    user.apply(an_act("a", NOW, event="e-1"))
    assert user.apply(an_act("a", NOW, event="e-1")) == "repeated"


def test_a_repeat_is_known_as_long_as_it_is_not_late_after_many_others():
    user = a_user(max_events_per_5_min=10_000)
    user.apply(an_act("a", NOW, event="first"))
    for number in range(900):
        user.apply(an_act("b", NOW + number, event=f"e-{number}"))
    assert user.apply(an_act("a", NOW, event="first")) == "repeated"


def test_whoever_acts_too_fast_teaches_nothing_until_the_window_has_passed():
    user = a_user(max_events_per_5_min=3)
    for second in range(3):
        previous(user, f"i-{second}", NOW + second)
    assert user.apply(an_act("i-4", NOW + 4)) == "bot"
    assert previous(user, "i-5", NOW + 10 * MINUTE) == hashes("i-2", "i-1", "i-0")


def test_state_is_bounded_however_long_and_fast_a_user_acts():
    user = a_user()
    for number in range(5_000):
        user.apply(an_act(f"i-{number}", NOW + number, event=f"e-{number}"))
    assert len(user.pack()) < 900 + 12 * MAX_SEEN


def test_a_user_at_rest_packs_small():
    user = a_user()
    for number in range(20):
        user.apply(an_act(f"i-{number}", NOW + number * MINUTE))
    assert len(user.pack()) < 900


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdef"),
            st.integers(0, 40 * MINUTE),
            st.sampled_from([None, "s-1", "s-2"]),
        ),
        max_size=40,
    ),
    st.integers(0, 40),
)
def test_a_packed_user_goes_on_as_if_nothing_had_happened(events: list[tuple[str, int, str | None]], cut: int):
    config = ProfileConfig(max_events_per_5_min=6)
    whole, packed = UserTransitions(config), UserTransitions(config)
    for number, (item, at, session) in enumerate(events):
        if number == cut:
            packed = UserTransitions.unpack(packed.pack(), config)
        act = an_act(item, NOW + at, session=session)
        assert packed.apply(act) == whole.apply(act)


def test_a_newer_format_is_refused():
    packed = b"\x02" + a_user().pack()[1:]
    with pytest.raises(ValueError, match="format 2"):
        UserTransitions.unpack(packed, ProfileConfig())


def test_a_user_packed_by_the_first_release_still_loads():
    user = UserTransitions.unpack(GOLDEN.read_bytes(), ProfileConfig())
    assert user.apply(an_act("b", NOW + SECOND)) == "repeated"
    assert previous(user, "c", NOW + 2 * SECOND) == hashes("b", "a")


def test_impressions_dislikes_and_unknown_types_teach_nothing():
    for event_type in ("impression", "dislike", "stare"):
        assert act_of(an_event(event_type), EVENTS) is None


def test_nobody_is_learned_from_without_consent():
    assert act_of(an_event(consent=False), EVENTS) is None


def test_an_event_is_reduced_to_hashes_weight_and_segments():
    act = act_of(an_event("purchase", session_id="s-1", context={"device": "tv"}), EVENTS)
    assert act is not None
    assert (act.user, act.item, act.item_id) == (hash64("u-1"), hash64("i-1"), "i-1")
    assert (act.weight, act.session, act.segments) == (5.0, hash64("s-1"), ("device=tv", "all"))


def test_everybody_is_in_the_last_segment():
    act = act_of(an_event(), EVENTS)
    assert act is not None
    assert act.segments == ("all",)


GAP, OPEN = 30 * MINUTE, DAY + 10 * MINUTE
"""How long a session may rest: one without a name, and one that the platform named."""
PAUSES = st.sampled_from([0, 1, GAP - 1, GAP, GAP + 1, DAY, OPEN, OPEN + 1])


@given(st.lists(st.tuples(PAUSES, st.sampled_from([None, "s-1", "s-2", "s-3"])), max_size=STEPS))
def test_an_event_in_order_goes_on_from_what_a_profile_has_in_the_same_session(steps: list[tuple[int, str | None]]):
    user, windows, at = a_user(), SessionWindows(GAP, 10 * MINUTE), NOW
    members = defaultdict[tuple[int, int], list[int]](list)
    for number, (pause, name) in enumerate(steps):
        at += pause
        session = windows.place(at, hash64(name) if name else 0)
        assert session is not None
        before = members[session.session_hash, session.started_at]
        assert previous(user, f"i-{number}", at, name) == before[::-1]
        before.append(hash64(f"i-{number}"))


@given(st.lists(st.integers(0, 12 * MINUTE), max_size=30), st.integers(1, 4))
def test_whom_a_profile_takes_for_a_bot_and_what_it_finds_late_teach_nothing(times: list[int], limit: int):
    config = ProfileConfig(max_events_per_5_min=limit)
    user, profile = UserTransitions(config), Profile(config, EVENTS)
    no_attributes = np.empty(0, np.uint32)
    for number, time in enumerate(times):
        event = an_event(event_id=f"e-{number}", timestamp=NOW + time)
        act = act_of(event, EVENTS)
        assert act is not None
        outcome = profile.apply(event, no_attributes, 0.0, no_attributes)
        learned = user.apply(act)
        assert outcome.value == (learned if isinstance(learned, str) else EventOutcome.APPLIED.value)
