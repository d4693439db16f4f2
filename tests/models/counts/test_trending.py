import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.counts.pairs import add_up
from models.counts.transitions import Contribution
from models.counts.trending import (
    MAX_SEGMENTS,
    N_ENTRIES,
    N_PUBLISHED,
    TrendCounts,
)
from models.items.wire import TrendingRow
from models.numeric.ids import hash64
from tests import places
from tests.models.counts.builders import DAY, NOW, a_contribution, decayed

GOLDEN = places.GOLDEN / "trending_v1.bin"
TV = ("device=tv", "all")


def learn(trending: TrendCounts, *contributions: Contribution) -> list[str]:
    [batch] = add_up(contributions, 1, DAY, DAY)
    return trending.learn(batch)


def learned(*contributions: Contribution, min_users: int = 1) -> TrendCounts:
    trending = TrendCounts(DAY, min_users)
    learn(trending, *contributions)
    return trending


def rows_of(trending: TrendCounts) -> dict[str, TrendingRow]:
    return {row.segment: row for row in trending.take_changed()}


def weights_of(row: TrendingRow) -> dict[int, float]:
    return dict(zip(row.items.tolist(), row.weights.tolist(), strict=True))


def comparable(trending: TrendCounts) -> list[tuple[object, ...]]:
    return [(*row[:4], row.items.tolist(), row.weights.tolist()) for row in trending.take_changed()]


def test_an_event_counts_in_each_of_its_segments():
    rows = rows_of(learned(a_contribution("a", segments=TV), a_contribution("b", weight=2.0)))
    assert weights_of(rows["device=tv"]) == {hash64("a"): 1.0}
    assert weights_of(rows["all"]) == {hash64("b"): 2.0, hash64("a"): 1.0}
    assert rows["all"].items.tolist() == [hash64("b"), hash64("a")]
    assert (rows["device=tv"].version, rows["all"].version) == (1, 2)


def test_what_was_loved_yesterday_weighs_half():
    rows = rows_of(learned(a_contribution("a", at=NOW, weight=3.0), a_contribution("b", at=NOW + DAY)))
    assert rows["all"].reference_at == NOW + DAY
    assert weights_of(rows["all"]) == pytest.approx({hash64("a"): 1.5, hash64("b"): 1.0})


def test_what_fewer_than_k_users_did_is_not_published():
    trending = learned(*(a_contribution("a", user=f"u-{n % 2}") for n in range(9)), min_users=3)
    assert weights_of(rows_of(trending)["all"]) == {}
    learn(trending, a_contribution("a", user="u-2"))
    assert weights_of(rows_of(trending)["all"]) == {hash64("a"): 3.0}


def test_a_users_three_hundred_purchases_weigh_as_one():
    """One buyer's were first in the shop: what is counted is people, each by the heaviest of their acts."""
    bought = (a_contribution("mine", user="one", weight=5.0, at=NOW + n) for n in range(300))
    seen = (a_contribution("ours", user=f"u-{n}", at=NOW + 300) for n in range(6))
    weights = weights_of(rows_of(learned(*bought, *seen))["all"])
    assert weights == pytest.approx({hash64("mine"): 5.0, hash64("ours"): 6.0}, rel=1e-4)


def test_who_comes_back_among_others_counts_at_most_once_for_each_eight_of_them():
    """Newer users push older ones out of what is remembered: that is as much as a persistent one can gain."""
    trending = TrendCounts(DAY, 1)
    for n in range(80):
        learn(trending, a_contribution("a", user="again"), a_contribution("a", user=f"u-{n}"))
    [weight] = weights_of(rows_of(trending)["all"]).values()
    assert 80 < weight <= 80 + 80 / 7 + 1


def test_acts_of_growing_weight_count_as_the_heaviest_in_any_order():
    for weights in ((1.0, 5.0, 3.0), (5.0, 3.0, 1.0), (3.0, 1.0, 5.0)):
        rows = rows_of(learned(*(a_contribution("a", weight=weight) for weight in weights)))
        assert weights_of(rows["all"]) == {hash64("a"): 5.0}


def test_users_of_another_segment_do_not_open_the_gate():
    trending = learned(a_contribution("a", user="u-1", segments=TV), a_contribution("a", user="u-2"), min_users=2)
    rows = rows_of(trending)
    assert weights_of(rows["device=tv"]) == {}
    assert weights_of(rows["all"]) == {hash64("a"): 2.0}


def test_a_segment_keeps_what_comes_again_and_publishes_its_best():
    trending = learned(a_contribution("steady", user="first"))
    for number in range(10 * N_ENTRIES):
        learn(trending, a_contribution(f"once-{number}"), a_contribution("steady", user=f"u-{number}"))
    row = rows_of(trending)["all"]
    assert len(row.items) == N_PUBLISHED
    assert row.items[0] == hash64("steady")
    assert row.weights.max() == 10 * N_ENTRIES + 1
    assert row.weights[1:].max() == 1.0


def test_invented_contexts_push_each_other_out_and_not_where_people_are():
    trending = TrendCounts(DAY, 1)
    people = [a_contribution("a", user=f"u-{n}", segments=TV) for n in range(5)]
    learn(trending, *people)
    dropped = []
    for number in range(10 * MAX_SEGMENTS):
        event = a_contribution("a", at=NOW + number, user="one", segments=(f"device={number}", "all"))
        dropped += learn(trending, event)
    assert len(dropped) > 8 * MAX_SEGMENTS
    assert "device=tv" not in dropped


def test_the_segment_that_weighs_least_makes_room():
    trending = learned(a_contribution("a", segments=("city=0", "all")))
    dropped = []
    for number in range(1, MAX_SEGMENTS):
        event = a_contribution("a", at=NOW + number, segments=(f"city={number}", "all"))
        dropped += learn(trending, event)
    assert dropped == ["city=0"]
    learn(trending, a_contribution("a", at=NOW + DAY, segments=("city=0", "all")))
    assert rows_of(trending)["city=0"].version > 1


def test_only_changed_segments_are_taken():
    trending = learned(a_contribution("a", segments=TV))
    rows_of(trending)
    assert not trending.changed
    learn(trending, a_contribution("a"))
    assert set(rows_of(trending)) == {"all"}


events = st.builds(
    lambda item, days, user, segments: a_contribution(item, at=NOW + int(days * DAY), user=user, segments=segments),
    st.sampled_from("abcde"),
    st.floats(0, 100),
    st.sampled_from(["u-1", "u-2", "u-3"]),
    st.sampled_from([("all",), TV]),
)


@given(st.lists(events, min_size=1, max_size=40), st.integers(1, 40), st.integers(1, 3))
def test_in_any_batches_the_rows_equal_a_literal_reading(given_events: list[Contribution], size: int, min_users: int):
    trending = TrendCounts(DAY, min_users)
    for start in range(0, len(given_events), size):
        learn(trending, *given_events[start : start + size])
    for name, row in rows_of(trending).items():
        of_segment = [event for event in given_events if name in event.segments]
        newest_at = max(event.at for event in of_segment)
        expected = {}
        for item in {event.item for event in of_segment}:
            of_item = [event for event in of_segment if event.item == item]
            if len({event.user for event in of_item}) >= min_users:
                expected[item] = sum(
                    max(decayed([(event.at, event.weight)], newest_at, DAY) for event in of_item if event.user == user)
                    for user in {event.user for event in of_item}
                )
        assert (row.version, row.reference_at) == (len(of_segment), newest_at)
        assert weights_of(row) == pytest.approx(expected, rel=1e-4)


@given(st.lists(events, min_size=1, max_size=30), st.lists(events, min_size=1, max_size=30), st.integers(1, 3))
def test_a_packed_shard_goes_on_as_if_nothing_had_happened(
    before: list[Contribution], after: list[Contribution], min_users: int
):
    whole = learned(*before, min_users=min_users)
    resumed = TrendCounts.unpack(whole.pack(), DAY, min_users)
    learn(whole, *after)
    learn(resumed, *after)
    assert comparable(resumed) == comparable(whole)


def test_after_k_was_raised_more_users_are_needed():
    trending = learned(a_contribution("a", user="u-1"), a_contribution("a", user="u-2"), min_users=1)
    stricter = TrendCounts.unpack(trending.pack(), DAY, min_users=3)
    learn(stricter, a_contribution("a", user="u-2"))
    assert weights_of(rows_of(stricter)["all"]) == {}
    learn(stricter, a_contribution("a", user="u-3"))
    assert weights_of(rows_of(stricter)["all"]) == {hash64("a"): 3.0}


def test_a_changed_half_life_holds_for_what_comes():
    trending = learned(a_contribution("a", at=NOW), a_contribution("a", at=NOW + DAY, user="u-2"))
    longer = TrendCounts.unpack(trending.pack(), 2 * DAY, 1)
    learn(longer, a_contribution("a", at=NOW + 3 * DAY, user="u-3"))
    assert weights_of(rows_of(longer)["all"]) == pytest.approx({hash64("a"): 1.5 / 2 + 1})


def test_a_newer_format_is_refused():
    with pytest.raises(ValueError, match="format 3"):
        TrendCounts.unpack(b"\x03" + learned(a_contribution()).pack()[1:], DAY, 1)


def test_a_shard_packed_by_the_first_release_still_loads():
    rows = rows_of(TrendCounts.unpack(GOLDEN.read_bytes(), DAY, min_users=2))
    assert weights_of(rows["device=tv"]) == {}
    assert weights_of(rows["all"]) == pytest.approx({hash64("a"): 1.5})


def test_what_was_acted_on_a_year_before_the_rest_of_its_batch_is_published_with_a_finite_weight():
    trending = TrendCounts(DAY, 1)
    old = a_contribution("a", at=NOW)
    [batch] = add_up([old, a_contribution("b", at=NOW + 130 * DAY)], 1, DAY, DAY)
    trending.learn(batch._replace(events=batch.events[:1], segments=batch.segments[:1]))
    [row] = trending.take_changed()
    assert np.isfinite(row.weights).all()
