from base64 import b64encode
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import AttributionConfig
from models.messages import Event
from models.names import EVENT_WEIGHTS, FEATURES, StageName
from models.numeric.halves import pack_halves
from models.numeric.ids import hash64
from models.online.attribution import MAX_ACTS, UserAttribution
from models.online.outcome import ALL_STAGES, CLICKED, ClosedSlate, ImpressionOutcome, ShownItem, ShownSlate
from tests import places
from tests.models.online.builders import CONFIG, NOW, SECOND, a_slate, an_event, logged
from tests.models.online.literal import read_literally

GOLDEN = places.GOLDEN / "attribution_v1.bin"
EXPLICIT = replace(CONFIG, impressions="event")
END = NOW + 10_000 * SECOND
SLATE_CLOSES_AT = NOW + 70 * SECOND


def a_user(
    *messages: ShownSlate | Event, config: AttributionConfig = CONFIG, weights: dict[str, float] = EVENT_WEIGHTS
) -> UserAttribution:
    user = UserAttribution(config, weights, Counter())
    for message in messages:
        give(user, message)
    return user


def give(user: UserAttribution, message: ShownSlate | Event) -> str | None:
    return user.show(message) if isinstance(message, ShownSlate) else user.take(message)


def outcomes(slates: Iterable[ClosedSlate]) -> list[ImpressionOutcome]:
    return [outcome for slate in slates for outcome in slate.outcomes]


def positives(user: UserAttribution, at: int = END) -> list[tuple[str, str]]:
    return [(found.recommendation_id, found.item_id) for found in outcomes(user.close(at)) if found.label]


def test_an_item_without_feedback_becomes_a_negative_when_its_window_has_closed_and_not_before():
    user = a_user(a_slate())
    assert user.close(SLATE_CLOSES_AT - 1) == []
    [slate] = user.close(SLATE_CLOSES_AT)
    assert [(o.item_id, o.label, o.weight, o.feedback) for o in slate.outcomes] == [
        (item, 0.0, 1.0, ()) for item in "abc"
    ]
    assert user.close(END) == []


def test_an_outcome_holds_all_that_learning_and_judging_need():
    user = a_user(a_slate(), an_event(5, "b"), an_event(9, "b", "purchase", value=20.0))
    [_, found, _] = outcomes(user.close(END))
    assert found.features[:2].tolist() == [0.25, 0.5]
    assert (found.label, found.weight, found.value, found.feedback) == (1.0, 5.0, 20.0, ("click", "purchase"))
    assert (found.recommendation_id, found.position, found.experiment, found.variant) == ("r-0", 1, "test", "left")
    assert (found.impression_at, found.impression, found.closed_at) == (NOW, "slate", SLATE_CLOSES_AT)


def test_a_dislike_is_a_negative_of_its_own_weight_unless_something_was_liked():
    weights = {"click": 1.0, "dislike": -3.0}
    both = a_user(
        a_slate(), an_event(5, "a", "dislike"), an_event(6, "b", "dislike"), an_event(7, "b"), weights=weights
    )
    assert [(o.label, o.weight) for o in outcomes(both.close(END))] == [(0.0, 3.0), (1.0, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize(("second", "counts"), [(0, True), (60, True), (61, False)])
def test_a_window_is_measured_from_the_impression(second: int, counts: bool):
    assert bool(positives(a_user(a_slate(), an_event(second)))) == counts


def test_each_type_has_a_window_of_its_own_and_the_slate_waits_for_the_longest():
    config = replace(CONFIG, windows_s={"purchase": 300})
    user = a_user(a_slate(), an_event(200, "a"), an_event(200, "b", "purchase"), config=config)
    assert user.close(NOW + 309 * SECOND) == []
    assert positives(user) == [("r-0", "b")]


def test_a_click_does_not_stretch_the_window():
    assert positives(a_user(a_slate(), an_event(50, "a"), an_event(70, "b"))) == [("r-0", "a")]


def test_feedback_goes_to_the_newest_slate_with_the_item_and_only_there():
    assert positives(a_user(a_slate(0), a_slate(10), a_slate(20, "xyz"), an_event(30, "a"))) == [("r-10", "a")]


def test_feedback_goes_to_the_slate_that_it_names():
    named = an_event(30, "a", recommendation_id="r-0")
    assert positives(a_user(a_slate(0), a_slate(10), named)) == [("r-0", "a")]
    unknown = an_event(30, "a", recommendation_id="r-7")
    user = a_user(a_slate(0), unknown)
    assert positives(user) == []
    assert user.counts["unattributed"] == 1


def test_nothing_is_attributed_to_a_slate_that_was_made_after_it():
    assert positives(a_user(a_slate(10), an_event(9))) == []


def test_a_repeat_of_a_slate_or_an_event_changes_nothing():
    user = a_user(a_slate(), an_event())
    assert give(user, a_slate()) == give(user, an_event()) == "repeated"
    assert len(outcomes(user.close(SLATE_CLOSES_AT))) == 3
    assert give(user, a_slate()) == "late"
    user.close(END)
    assert give(user, an_event()) == "late"
    assert outcomes(user.close(END)) == []


def test_a_slate_or_an_event_before_the_closed_time_is_late():
    user = a_user(a_slate(100))
    user.close(NOW + 80 * SECOND)
    assert give(user, a_slate(10)) == "late"
    assert give(user, a_slate(11)) is None
    assert give(user, an_event(10)) == "late"


def test_without_consent_or_a_weight_an_event_is_no_feedback():
    user = a_user(a_slate())
    assert give(user, an_event(consent=False)) == "no_consent"
    assert give(user, an_event(kind="impression")) == "no_feedback"
    assert give(user, an_event(kind="unheard-of")) == "no_feedback"
    assert positives(user) == []


def test_with_impression_events_only_what_was_shown_has_an_outcome_and_its_window_starts_there():
    shown = [an_event(12, "b", "impression", name="i-1"), an_event(15, "b", "impression", name="i-2")]
    user = a_user(a_slate(), *shown, an_event(72, "b"), an_event(20, "a"), config=EXPLICIT)
    [found] = outcomes(user.close(END))
    assert (found.item_id, found.label, found.impression_at, found.impression) == ("b", 1.0, NOW + 12 * SECOND, "event")
    assert user.counts == {"not_shown": 2, "unattributed": 1}


def test_an_impression_event_long_after_the_slate_is_not_of_it():
    assert outcomes(a_user(a_slate(), an_event(21, "a", "impression"), config=EXPLICIT).close(END)) == []


def test_a_slate_remembers_what_its_user_had_acted_on_newest_first():
    acts = [an_event(-30 + k, f"i-{k}") for k in range(20)]
    [slate] = a_user(a_slate(), *reversed(acts), an_event(1, "later")).close(END)
    assert list(slate.history) == [hash64(f"i-{k}") for k in range(19, 3, -1)]


def test_a_slate_of_another_feature_set_has_outcomes_without_features():
    [found, *_] = outcomes(a_user(a_slate(feature_set="v0")).close(END))
    assert found.features.shape == (0,)


def test_features_are_the_same_whether_the_slate_or_its_items_carry_them():
    rows = np.random.default_rng(0).random((2, len(FEATURES))).astype(np.float32)
    items = [ShownItem(item, place, 1.0) for place, item in enumerate("ab")]
    now = a_slate(items=items, features=pack_halves(rows))
    before = a_slate(items=[replace(item, features=row.tolist()) for item, row in zip(items, rows, strict=True)])
    of_now, of_before = (outcomes(a_user(slate).close(END)) for slate in (now, before))
    assert [one.features.tolist() for one in of_now] == [one.features.tolist() for one in of_before]
    assert of_now[1].features.tolist() == rows[1].astype(np.float16).tolist()


@pytest.mark.parametrize("text", ["", "no base64", "AAAA", pack_halves(np.zeros((2, len(FEATURES)), np.float32))])
def test_features_of_another_number_are_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        a_slate(items="abc", features=text).feature_rows()


def test_features_that_are_no_numbers_are_refused():
    hostile = b64encode(np.full((3, len(FEATURES)), np.nan, "<f2").tobytes()).decode()
    with pytest.raises(ValueError, match="finite"):
        a_slate(items="abc", features=hostile).feature_rows()


def test_state_is_bounded_and_what_is_given_up_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("models.online.attribution.MAX_EVENTS", 5)
    config = replace(CONFIG, max_slates=3)
    user = a_user(*(a_slate(k) for k in range(9)), *(an_event(k) for k in range(200)), config=config)
    assert (len(user.slates), len(user.events), len(user.acts)) == (3, 5, MAX_ACTS)
    assert user.counts == {"slates_given_up": 6, "events_given_up": 195}
    assert {o.recommendation_id for o in outcomes(user.close(END))} == {"r-6", "r-7", "r-8"}


def test_a_slate_without_items_has_no_outcome():
    user = a_user()
    assert give(user, a_slate(items="")) == "empty"
    assert user.close(END) == []


SLATES = st.builds(
    lambda second, items, name: a_slate(second, "".join(items), f"r-{name}"),
    st.integers(0, 200),
    st.sets(st.sampled_from("abcd"), min_size=1).map(sorted),
    st.integers(0, 5),
)
EVENTS = st.builds(
    lambda second, item, kind, slate, name: an_event(
        second, item, kind, f"e-{name}", recommendation_id=None if slate is None else f"r-{slate}"
    ),
    st.integers(0, 300),
    st.sampled_from("abcde"),
    st.sampled_from(["click", "purchase", "dislike", "impression"]),
    st.none() | st.integers(0, 6),
    st.integers(0, 30),
)
MESSAGES = st.tuples(
    st.lists(SLATES, max_size=6, unique_by=lambda slate: slate.recommendation_id),
    st.lists(EVENTS, max_size=25, unique_by=lambda event: event.event_id),
)
CONFIGS = st.sampled_from([CONFIG, EXPLICIT, replace(EXPLICIT, windows_s={"purchase": 120})])


def summary(found: list[ImpressionOutcome]) -> set[tuple[str, str, int, tuple[str, ...]]]:
    return {(o.recommendation_id, o.item_id, o.impression_at, o.feedback) for o in found}


@settings(max_examples=300, deadline=None)
@given(messages=MESSAGES, config=CONFIGS, data=st.data())
def test_in_any_order_the_outcomes_are_those_of_a_literal_reading(
    messages: tuple[list[ShownSlate], list[Event]], config: AttributionConfig, data: st.DataObject
):
    slates, events = messages
    user = UserAttribution(config, EVENT_WEIGHTS, Counter())
    for message in data.draw(st.permutations([*slates, *events])):
        give(user, message)
    found = outcomes(user.close(END))
    assert summary(found) == read_literally(slates, events, config)
    assert len(found) == len(summary(found))
    n_feedback = sum(event.event_type != "impression" for event in events)
    assert user.counts["unattributed"] + sum(len(outcome.feedback) for outcome in found) == n_feedback


@settings(max_examples=300, deadline=None)
@given(messages=MESSAGES, config=CONFIGS, data=st.data())
def test_a_stream_that_is_out_of_order_by_the_lateness_closes_as_a_literal_reading(
    messages: tuple[list[ShownSlate], list[Event]], config: AttributionConfig, data: st.DataObject
):
    """Watermarks rise on the way, and every few messages the state goes through a snapshot."""
    slates, events = messages
    timed = [(slate.created_at, slate) for slate in slates] + [(event.timestamp, event) for event in events]
    delayed = sorted(
        (
            (at + data.draw(st.integers(0, 1_000 * config.lateness_s)), k, at, what)
            for k, (at, what) in enumerate(timed)
        ),
        key=lambda entry: entry[:2],
    )
    counts: Counter[str] = Counter()
    user, found = UserAttribution(config, EVENT_WEIGHTS, counts), []
    for k, (arrival, _, _, message) in enumerate(delayed):
        assert give(user, message) is None or (isinstance(message, Event) and config.impressions == "slate")
        found += outcomes(user.close(arrival - 1_000 * config.lateness_s))
        if k % 3 == 0:
            user = UserAttribution.unpack(user.pack(), config, EVENT_WEIGHTS, counts)
    found += outcomes(user.close(END))
    assert summary(found) == read_literally(slates, events, config)
    assert len(found) == len(summary(found))


@pytest.mark.parametrize("data", [b"", b"\x09", b"\x01", b"\x01\x90"])
def test_a_snapshot_of_another_format_or_a_damaged_one_is_refused(data: bytes):
    with pytest.raises(ValueError, match="attribution"):
        UserAttribution.unpack(data, CONFIG, EVENT_WEIGHTS, Counter())


def test_the_snapshot_of_the_first_release_still_loads():
    data = GOLDEN.read_bytes()
    user = UserAttribution.unpack(data, CONFIG, EVENT_WEIGHTS, Counter())
    assert UserAttribution.unpack(user.pack(), CONFIG, EVENT_WEIGHTS, Counter()).pack() == user.pack()
    found = {(o.recommendation_id, o.item_id): o for o in outcomes(user.close(END)) if o.label}
    assert {key: outcome.feedback for key, outcome in found.items()} == {
        ("r-20", "a"): ("click",),
        ("r-0", "b"): ("purchase",),
    }
    assert found["r-0", "b"].features[:2].tolist() == [0.25, 0.5]


def test_a_restored_user_has_the_same_outcomes_to_the_bit():
    messages = [a_slate(), a_slate(20), an_event(30), an_event(40, "b", recommendation_id="r-0")]
    user = a_user(*messages)
    again = UserAttribution.unpack(user.pack(), CONFIG, EVENT_WEIGHTS, Counter())
    assert again.pack() == user.pack()
    for one, other in zip(outcomes(user.close(END)), outcomes(again.close(END)), strict=True):
        assert one == other
        assert np.array_equal(one.features, other.features)


SOON = replace(CONFIG, seconds_to_count=2)


def test_a_slate_that_was_replaced_before_anybody_could_look_at_it_is_no_impression():
    user = a_user(*(a_slate(second) for second in range(5)), an_event(9, "b"), config=SOON)
    assert [(o.recommendation_id, o.item_id, o.label) for o in outcomes(user.close(END))] == [
        ("r-4", "a", 0.0), ("r-4", "b", 1.0), ("r-4", "c", 0.0)
    ]  # fmt: skip


def test_a_slate_that_stood_for_long_enough_counts_though_another_one_came():
    user = a_user(a_slate(0), a_slate(2), an_event(9, "b"), config=SOON)
    assert [o.label for o in outcomes(user.close(END))] == [0.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_slate_that_an_act_names_was_looked_at_however_soon_another_one_came():
    user = a_user(a_slate(0), a_slate(1), an_event(9, "b", recommendation_id="r-0"), config=SOON)
    assert positives(user) == [("r-0", "b")]


def test_slates_of_different_placements_do_not_replace_each_other():
    slates = (a_slate(0, placement="home"), a_slate(1, placement="cart"), a_slate(2, placement="home"))
    found = outcomes(a_user(*slates, config=replace(SOON, seconds_to_count=3)).close(END))
    assert {o.recommendation_id for o in found} == {"r-1", "r-2"}


def test_where_impressions_come_as_events_a_short_lived_slate_counts():
    config = replace(EXPLICIT, seconds_to_count=60)
    user = a_user(a_slate(0), a_slate(9), an_event(1, "a", "impression"), config=config)
    assert [o.recommendation_id for o in outcomes(user.close(END))] == ["r-0"]


def test_the_order_of_arrival_does_not_change_what_is_superseded():
    messages = [a_slate(0), a_slate(1), a_slate(4), an_event(6, "a")]
    found = [outcomes(a_user(*order, config=SOON).close(END)) for order in (messages, messages[::-1])]
    assert found[0] == found[1]


def test_an_impression_that_says_where_the_item_was_leads():
    user = a_user(
        a_slate(), an_event(1, "a", "impression", position=7), an_event(2, "b", "impression"), config=EXPLICIT
    )
    [slate] = user.close(END)
    assert [o.position for o in slate.outcomes] == [7, 1]


def test_an_example_says_where_each_item_stood_and_how_probable_that_was():
    items = [ShownItem(f"i{k}", k, 1 / (k + 1), [0.5] * len(FEATURES)) for k in range(3)]
    [slate] = a_user(a_slate(items=items, placement="home")).close(END)
    example = slate.example()
    assert example is not None
    assert (example.positions, example.propensities, example.placement) == ((0, 1, 2), (1.0, 1 / 2, 1 / 3), "home")


def test_a_slate_that_was_acted_on_before_the_next_one_came_was_looked_at():
    user = a_user(a_slate(0), an_event(1, "b"), a_slate(1, "xyz"), config=replace(SOON, seconds_to_count=9))
    assert positives(user) == []
    user = a_user(a_slate(0), an_event(1, "b"), a_slate(2, "xyz"), config=replace(SOON, seconds_to_count=9))
    assert positives(user) == [("r-0", "b")]


FUNNEL_CONFIG = replace(CONFIG, windows_s={"purchase": 600})
CLICKS_CLOSE_AT = NOW + 70 * SECOND
ALL_CLOSE_AT = NOW + 610 * SECOND
STAGE_OF: dict[str, StageName] = {"click": "click", "view": "click", "cart": "cart", "purchase": "purchase"}


def an_early_user(*messages: ShownSlate | Event) -> UserAttribution:
    user = UserAttribution(FUNNEL_CONFIG, EVENT_WEIGHTS, Counter(), decides_clicks_early=True)
    for message in messages:
        give(user, message)
    return user


def stages_of(slate: ClosedSlate) -> tuple[int, ...]:
    example = slate.example(STAGE_OF)
    assert example is not None
    return example.stages


def test_what_was_clicked_is_decided_when_its_window_closes_and_what_was_bought_when_its_own_does():
    user = an_early_user(a_slate(), an_event(5, "a"), an_event(9, "b", "cart"), an_event(300, "a", "purchase"))
    assert user.close(CLICKS_CLOSE_AT - 1) == []
    [early] = user.close(CLICKS_CLOSE_AT)
    assert (early.decided, early.is_final, stages_of(early)) == (CLICKED, False, (0b001, 0b011, 0))
    assert user.close(ALL_CLOSE_AT - 1) == []
    [late] = user.close(ALL_CLOSE_AT)
    assert (late.decided, late.is_final, stages_of(late)) == (ALL_STAGES & ~CLICKED, True, (0b101, 0b011, 0))
    assert [outcome.feedback for outcome in late.outcomes] == [("click", "purchase"), ("cart",), ()]


def test_where_all_windows_are_as_long_all_is_decided_at_once():
    user = UserAttribution(CONFIG, EVENT_WEIGHTS, Counter(), decides_clicks_early=True)
    give(user, a_slate())
    [slate] = user.close(SLATE_CLOSES_AT)
    assert (slate.decided, slate.is_final) == (ALL_STAGES, True)


def test_a_slate_that_comes_to_its_end_at_once_is_decided_once():
    [slate] = an_early_user(a_slate(), an_event(5)).close(END)
    assert (slate.decided, slate.is_final) == (ALL_STAGES, True)


def test_an_act_in_a_longer_window_than_a_click_s_is_no_early_click():
    user = an_early_user(a_slate(), an_event(66, "a", "purchase"))
    [early] = user.close(CLICKS_CLOSE_AT)
    assert stages_of(early) == (0, 0, 0)


def test_what_is_decided_early_leaves_the_end_as_it_was():
    """Rankers learn from the end alone: it may not depend on whether somebody looked before."""
    messages = a_slate(), a_slate(20), an_event(25, "a"), an_event(30, "b", "purchase"), an_event(590, "c", "purchase")
    early, late = an_early_user(*messages), a_user(*messages, config=FUNNEL_CONFIG)
    found = [slate for second in range(60, 700, 7) for slate in early.close(NOW + second * SECOND)]
    assert outcomes(slate for slate in found if slate.is_final) == outcomes(late.close(END))
    early.close(END)
    assert early.counts == late.counts


def test_a_snapshot_remembers_what_was_decided_early():
    user = an_early_user(a_slate(items=[ShownItem("a", 0, 1.0, logged(0.5, 0.5), 0.25, 0.125, 0.0625)]))
    user.close(CLICKS_CLOSE_AT)
    again = UserAttribution.unpack(user.pack(), FUNNEL_CONFIG, EVENT_WEIGHTS, Counter(), decides_clicks_early=True)
    assert again.close(CLICKS_CLOSE_AT + SECOND) == []
    [late] = again.close(END)
    assert late.outcomes[0].chances == (0.25, 0.125, 0.0625)


def test_a_slate_that_says_chances_of_some_items_only_says_none():
    """`learn` had stood still on it for ever."""
    items = [ShownItem("a", 0, 1.0, logged(0.5, 0.5), 0.25, 0.125, 0.0625), ShownItem("b", 1, 1.0, logged(0.5, 0.5))]
    [slate] = an_early_user(a_slate(items=items)).close(END)
    assert [outcome.chances for outcome in slate.outcomes] == [(), ()]
