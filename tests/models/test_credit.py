from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import AttributionConfig, ImpressionKind, OutcomeConfig
from models.credit import ANY_SLATE, credited
from models.experiments.judge.journal import Journal
from models.experiments.judge.observations import Act, Impression, Observation, SlateSent, order
from models.messages import Event
from models.numeric.ids import hash64
from models.online.attribution import UserAttribution
from models.online.outcome import ShownSlate
from tests.models.online.builders import NOW, SECOND, a_slate

Credit = tuple[int, int, int]
"""Hashes of an act, of its item, and of the slate that it is credited to."""

OLD, NEW = (100, 100, 1), (200, 200, 2)


def credited_slate(at: int, named: int = ANY_SLATE, window_ms: int = 50) -> int | None:
    found = credited(at, named, [NEW, OLD], window_ms)
    return None if found is None else found[-1]


@pytest.mark.parametrize(
    ("at", "slate"), [(99, None), (100, 1), (150, 1), (199, None), (200, 2), (250, 2), (251, None)]
)
def test_an_act_is_credited_to_the_newest_impression_before_it_while_its_window_is_open(at: int, slate: int | None):
    assert credited_slate(at) == slate


def test_an_act_too_late_for_the_newest_impression_is_credited_to_no_older_one():
    assert credited(260, ANY_SLATE, [NEW, (199, 100, 1)], 50) is None


def test_the_slate_that_the_platform_names_comes_before_the_newest():
    assert credited_slate(210, named=1, window_ms=200) == 1
    assert credited_slate(210, named=1) is None
    assert credited_slate(210, named=3) is None


def test_of_two_impressions_at_one_moment_the_slate_made_last_is_the_newest():
    newest_first = sorted([(100, 1, 9), (100, 2, 1)], reverse=True)
    assert credited(120, ANY_SLATE, newest_first, 50) == (100, 2, 1)


WINDOW_S = 6
ATTRIBUTION = AttributionConfig(window_s=WINDOW_S, wait_s=1_000, seconds_to_count=0)
"""Any impression is in time, as in the journal."""
OUTCOMES = OutcomeConfig(attribution_window_s=WINDOW_S)
TYPES = [f"act-{number}" for number in range(20)]
"""Every act has a type of its own, by which its outcome names it."""
WEIGHTS = dict.fromkeys(TYPES, 1.0)
ITEMS = st.sampled_from("ab")
NAMED = st.none() | st.integers(0, 4).map("r-{}".format)
SLATES = st.lists(st.tuples(st.integers(0, 9), st.sets(ITEMS, min_size=1).map(sorted).map("".join)), max_size=8)
EVENTS = st.lists(st.tuples(st.integers(0, 20), ITEMS, NAMED), max_size=len(TYPES))


def events_of(drawn: list[tuple[int, str, str | None]], types: list[str], after_ms: int) -> list[Event]:
    """Make events some time after the full second, at which slates are made: at one moment the callers differ."""
    return [
        Event(
            f"{event_type}-{number}", "u-1", item, event_type, NOW + second * SECOND + after_ms, recommendation_id=named
        )
        for number, ((second, item, named), event_type) in enumerate(zip(drawn, types, strict=False))
    ]


def credited_by_attribution(slates: list[ShownSlate], events: list[Event], config: AttributionConfig) -> set[Credit]:
    user = UserAttribution(config, WEIGHTS, Counter())
    for slate in slates:
        assert user.show(slate) is None
    for event in events:
        user.take(event)
    ids = {event.event_type: hash64(event.event_id) for event in events}
    return {
        (ids[event_type], hash64(outcome.item_id), hash64(outcome.recommendation_id))
        for closed in user.close(NOW + 10_000 * SECOND)
        for outcome in closed.outcomes
        for event_type in outcome.feedback
    }


def observed(message: ShownSlate | Event) -> Observation:
    """Reduce a message as `evaluate` does."""
    if isinstance(message, ShownSlate):
        items = tuple(hash64(item.item_id) for item in message.items)
        return SlateSent(message.created_at, hash64(message.recommendation_id), 0, items)
    slate = hash64(message.recommendation_id) if message.recommendation_id else ANY_SLATE
    kind = Impression if message.event_type == "impression" else Act
    return kind(message.timestamp, hash64(message.event_id), hash64(message.item_id), slate=slate)


def credited_by_experiments(slates: list[ShownSlate], events: list[Event], kind: ImpressionKind) -> set[Credit]:
    journal, found = Journal(), set[Credit]()
    for observation in sorted(map(observed, [*slates, *events]), key=order):
        journal.apply(observation, OUTCOMES, kind)
        for slate in journal.showings:
            found |= {(observation.id, item, slate.id) for item in slate.acted_on}
            slate.acted_on.clear()  # else only the first act on an impression would show
    return found


@settings(max_examples=400, deadline=None)
@given(slates=SLATES, impressions=EVENTS, acts=EVENTS, kind=st.sampled_from(["slate", "event"]))
def test_rankers_and_experiments_credit_the_same_acts_to_the_same_slates(
    slates: list[tuple[int, str]],
    impressions: list[tuple[int, str, str | None]],
    acts: list[tuple[int, str, str | None]],
    kind: ImpressionKind,
):
    shown = [a_slate(second, items, f"r-{number}") for number, (second, items) in enumerate(slates)]
    seen = events_of(impressions, ["impression"] * len(impressions), after_ms=300)
    events = [*seen, *events_of(acts, TYPES, after_ms=600)]
    learning = replace(ATTRIBUTION, impressions=kind)
    assert credited_by_attribution(shown, events, learning) == credited_by_experiments(shown, events, kind)
