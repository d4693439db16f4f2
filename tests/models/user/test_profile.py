from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import ProfileConfig
from models.events import EventConfig
from models.messages import Event
from models.numeric.arrays import Hash32s
from models.numeric.ids import hash64
from models.user.profile import EventOutcome, Profile
from models.user.query import Query
from models.user.record import N_INTERESTS
from tests.states import Evidence, evidence_of, query_of

MINUTE_MS = 60_000
T0 = 1_700_000_040_000
"""A whole minute, Unix milliseconds."""


def an_event(event_id: str, at: int = 0, **changes: Any) -> Event:
    fields = {"user_id": "ann", "item_id": "tea", "event_type": "view"} | changes
    return Event(event_id=event_id, timestamp=T0 + at, **fields)


def a_profile(**config: Any) -> Profile:
    return Profile(ProfileConfig(**config), EventConfig())


def apply(
    profile: Profile,
    event: Event,
    attributes: tuple[int, ...] = (1, 2),
    price: float = 0.0,
    negative: tuple[int, ...] = (3,),
) -> EventOutcome:
    return profile.apply(event, hashes(attributes), price, hashes(negative))


def hashes(attributes: tuple[int, ...]) -> Hash32s:
    return np.array(attributes, np.uint32)


def asked(profile: Profile, at: int = 0) -> Query:
    return query_of(profile, T0 + at)


def evidence(profile: Profile, at: int = 0) -> Evidence:
    return evidence_of(asked(profile, at))


def contents(profile: Profile) -> tuple[Any, ...]:
    query = asked(profile)
    return query, dict(profile.event_ids), profile.sessions.pack(), profile.minutes.pack(), profile.surprise


def test_a_duplicate_changes_nothing():
    profile = a_profile()
    apply(profile, an_event("e1"))
    before = contents(profile)
    assert apply(profile, an_event("e1", item_id="rum")) is EventOutcome.DUPLICATE
    assert contents(profile) == before


def test_an_event_beyond_the_lateness_changes_nothing_and_one_at_its_edge_counts():
    profile = a_profile()
    apply(profile, an_event("e1", 10 * MINUTE_MS))
    before = contents(profile)
    assert apply(profile, an_event("e2", -1)) is EventOutcome.LATE
    assert contents(profile) == before
    assert apply(profile, an_event("e3", 0)) is EventOutcome.APPLIED
    assert profile.n_events == 2


def test_whoever_acts_too_fast_is_counted_but_teaches_nothing():
    profile = a_profile(max_events_per_5_min=3)
    outcomes = [apply(profile, an_event(f"e{i}", i)) for i in range(5)]
    assert outcomes == [EventOutcome.APPLIED] * 3 + [EventOutcome.BOT] * 2
    query = asked(profile)
    assert (query.n_events, query.n_last_5_min, query.n_last_hour) == (5, 5, 5)
    assert len(evidence(profile).recent_items) == 3
    assert apply(profile, an_event("e4", 4)) is EventOutcome.DUPLICATE


def test_being_shown_much_makes_nobody_a_bot():
    profile = a_profile(max_events_per_5_min=3)
    for i in range(9):
        apply(profile, an_event(f"i{i}", i, event_type="impression"))
    assert apply(profile, an_event("e", 9)) is EventOutcome.APPLIED
    assert (profile.n_events, asked(profile).n_last_5_min) == (10, 1)


def test_impressions_decay_and_end_with_a_reaction():
    profile = a_profile()
    apply(profile, an_event("i1", event_type="impression"))
    apply(profile, an_event("i2", event_type="impression", item_id="rum"))
    day_ms = 24 * 60 * MINUTE_MS
    assert asked(profile, day_ms).impressions == pytest.approx({hash64("tea"): 0.5, hash64("rum"): 0.5})
    apply(profile, an_event("e1", item_id="rum", event_type="dislike"))
    assert list(asked(profile).impressions) == [hash64("tea")]


def test_recent_items_stand_newest_first_however_they_arrive():
    profile = a_profile()
    for name, at in (("a", 2), ("b", 3), ("c", 1)):
        apply(profile, an_event(name, at, item_id=name))
    query = evidence(profile)
    assert query.recent_items == [hash64("b"), hash64("a"), hash64("c")]
    assert query.recent_at == [T0 + 3, T0 + 2, T0 + 1]


def test_interests_are_decayed_to_the_asked_time_at_both_half_lives():
    profile = a_profile(half_life_moment_s=60, half_life_habit_s=240)
    apply(profile, an_event("e1", event_type="like"), attributes=(1,))
    assert evidence(profile, 4 * MINUTE_MS).interests == {1: pytest.approx((0.125, 1.0))}


def test_interests_never_grow_for_a_request_from_the_past():
    profile = a_profile()
    apply(profile, an_event("e1"), attributes=(1,))
    assert evidence(profile, -T0).interests == {1: pytest.approx((1.0, 1.0))}


def test_drift_rises_when_the_short_term_interests_leave_the_long_term_ones():
    profile = a_profile()
    apply(profile, an_event("e1", event_type="purchase"), attributes=(1,))
    assert evidence(profile).drift == pytest.approx(0.0)
    later = 10 * 30 * MINUTE_MS
    apply(profile, an_event("e2", later), attributes=(2,))
    assert evidence(profile, later).drift > 0.5


def test_a_rating_counts_against_the_item_unless_it_reaches_the_mean_of_those_before():
    profile = a_profile()
    for i, value in enumerate((3.0, 5.0, 4.0, 1.0)):
        apply(profile, an_event(f"e{i}", i, event_type="rating", value=value))
    # Means before: none, 3, 4, 4.
    assert evidence(profile).recent_weights[::-1] == [1.0, 1.0, 1.0, -0.5]


def test_a_dislike_teaches_the_opposite_of_a_view():
    liked, disliked = a_profile(), a_profile()
    apply(liked, an_event("e1", event_type="view"))
    apply(disliked, an_event("e1", event_type="dislike"))
    preferences = evidence(liked).preferences
    assert preferences[1] > 0 > preferences[3]
    assert evidence(disliked).preferences == pytest.approx({key: -value for key, value in preferences.items()})


def test_the_mean_price_is_weighted_and_ignores_unknown_prices():
    profile = a_profile()
    apply(profile, an_event("e1"), price=10.0)
    apply(profile, an_event("e2", event_type="cart"), price=30.0)
    apply(profile, an_event("e3"), price=0.0)
    assert evidence(profile).mean_price == pytest.approx((10 + 3 * 30) / 4)
    assert evidence(a_profile()).mean_price == 0.0


def test_only_owning_events_make_an_item_owned_and_the_last_bought_stay():
    profile = a_profile(max_owned=2)
    apply(profile, an_event("e0", item_id="rum", event_type="cart"))
    for i, item in enumerate(("a", "b", "a", "c")):
        apply(profile, an_event(f"e{i + 1}", item_id=item, event_type="purchase"))
    assert set(asked(profile).owned) == {hash64("a"), hash64("c")}


def test_the_session_ends_with_the_gap():
    profile = a_profile()
    apply(profile, an_event("e1", 0))
    apply(profile, an_event("e2", 40 * MINUTE_MS))
    apply(profile, an_event("e3", 50 * MINUTE_MS))
    assert asked(profile, 80 * MINUTE_MS).session_started_at == T0 + 40 * MINUTE_MS
    assert asked(profile, 80 * MINUTE_MS + 1).session_started_at is None
    assert asked(a_profile()).session_started_at is None


def test_ids_are_kept_while_they_lie_within_the_lateness():
    profile = a_profile()
    for i in range(8):
        apply(profile, an_event(f"e{i}", i))
    assert all(apply(profile, an_event(f"e{i}", i)) is EventOutcome.DUPLICATE for i in range(8))
    apply(profile, an_event("much later", 60 * MINUTE_MS))
    assert list(profile.event_ids) == [hash64("much later")]


def test_a_flood_within_the_lateness_cannot_fill_the_memory_with_ids(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("models.user.profile.MAX_EVENT_IDS", 32)
    profile = a_profile()
    for i in range(100):
        apply(profile, an_event(f"e{i}", i))
    assert len(profile.event_ids) == 32
    assert profile.n_events == 100


PLANS = st.lists(
    st.tuples(
        st.integers(0, 10 * MINUTE_MS),
        st.sampled_from("abcdef"),
        st.sampled_from(("view", "like", "dislike", "purchase")),
        st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=40,
)


@given(PLANS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_arrival_within_the_lateness_does_not_matter(plan: list[Any], random: Any):
    arrivals = [
        (an_event(f"e{i}", at, item_id=item, event_type=kind), attributes)
        for i, (at, item, kind, attributes) in enumerate(plan)
    ]
    shuffled = random.sample(arrivals, len(arrivals))
    one, other = a_profile(), a_profile()
    for profile, order in ((one, arrivals), (other, shuffled + arrivals)):
        for event, attributes in order:
            apply(profile, event, attributes)
    left, right = asked(one, 10 * MINUTE_MS), asked(other, 10 * MINUTE_MS)
    names = ("session_started_at", "n_events", "n_last_hour")
    assert [getattr(left, name) for name in names] == [getattr(right, name) for name in names]
    assert set(left.owned) == set(right.owned)
    first, second = evidence_of(left), evidence_of(right)
    names = ("recent_items", "recent_at", "recent_weights")
    assert [getattr(first, name) for name in names] == [getattr(second, name) for name in names]
    # Opposite acts may cancel to nothing in one order, and to a rounding error in another.
    for attribute in first.interests.keys() | second.interests.keys():
        interest, same = (user.interests.get(attribute, (0.0, 0.0)) for user in (first, second))
        assert interest == pytest.approx(same, rel=1e-4, abs=1e-5)


@given(PLANS)
@settings(max_examples=40, deadline=None)
def test_no_part_outgrows_its_bound(plan: list[Any]):
    profile = a_profile(max_owned=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.user.profile.MAX_IMPRESSIONS", 2)
        patch.setattr("models.user.profile.MAX_EVENT_IDS", 6)
        for i, (at, item, kind, attributes) in enumerate(plan):
            apply(profile, an_event(f"e{i}", i * MINUTE_MS + at, item_id=item, event_type=kind), attributes)
            apply(profile, an_event(f"i{i}", i * MINUTE_MS + at, item_id=f"{i}", event_type="impression"))
    query = asked(profile)
    assert len(query.impressions) <= 2
    assert len(query.owned) <= 2
    assert len(profile.event_ids) <= 6


def test_the_newest_items_stay_when_there_is_no_room():
    profile = a_profile(max_events_per_5_min=1_000)
    order = list(range(50))
    Random(3).shuffle(order)  # noqa: S311 - no secret is made of it
    for i in order:
        apply(profile, an_event(f"e{i}", i, item_id=f"i{i}"))
    assert evidence(profile).recent_items == [hash64(f"i{i}") for i in range(49, 17, -1)]


def test_the_weakest_interest_makes_room():
    profile = a_profile(max_events_per_5_min=1_000)
    for attribute in range(1, N_INTERESTS + 1):
        kind = "view" if attribute == 7 else "like"
        apply(profile, an_event(f"e{attribute}", 0, event_type=kind), (attribute,), negative=())
    apply(profile, an_event("new", 0, event_type="like"), (1_000,), negative=())
    interests = evidence(profile).interests
    assert len(interests) == N_INTERESTS
    assert 7 not in interests
    assert 1_000 in interests


def test_interests_of_a_user_who_returns_after_a_year_are_those_of_the_return():
    profile = a_profile()
    apply(profile, an_event("e1"), (1,), price=5.0)
    later = 365 * 24 * 60 * MINUTE_MS
    apply(profile, an_event("e2", later), (2,), price=9.0)
    interests = evidence(profile, later).interests
    assert interests[2] == pytest.approx((1.0, 1.0))
    assert interests[1][1] == pytest.approx(2 ** (-365 / 14), rel=1e-3)
