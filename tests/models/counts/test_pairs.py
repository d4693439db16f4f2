import numpy as np
import pytest

from models.counts.pairs import add_up
from models.numeric.ids import hash64
from tests.models.counts.builders import DAY, NOW, SECOND, a_contribution


def pairs_of(pairs: np.ndarray) -> dict[tuple[int, int], tuple[int, float, float]]:
    return {
        (int(pair["item"]), int(pair["neighbour"])): (
            int(pair["n"]),
            float(pair["rule"]),
            float(pair["covisit"]),
        )
        for pair in pairs
    }


def test_an_event_two_steps_after_adds_half_a_rule_one_way_and_a_visit_both_ways():
    [batch] = add_up([a_contribution("c", "b", "a")], 1, DAY, DAY)
    a, b, c = map(hash64, "abc")
    assert pairs_of(batch.pairs) == {
        (b, c): (1, 1.0, 1.0),
        (c, b): (1, 0.0, 1.0),
        (a, c): (1, 0.5, 1.0),
        (c, a): (1, 0.0, 1.0),
    }


def test_acts_of_earlier_sessions_are_habits_less_the_farther_away_and_half_backwards():
    day_s = DAY // SECOND
    [batch] = add_up([a_contribution("c", earlier=[("b", day_s), ("a", 2 * day_s)])], 1, DAY, DAY)
    a, b, c = map(hash64, "abc")
    assert pairs_of(batch.habits) == {
        (b, c): (1, 0.5, 0.5),
        (c, b): (1, 0.25, 0.5),
        (a, c): (1, 0.125, 0.125),
        (c, a): (1, 0.0625, 0.125),
    }
    assert len(batch.pairs) == 0


def test_equal_pairs_of_a_batch_travel_as_one():
    [batch] = add_up([a_contribution("b", "a"), a_contribution("b", "a", "a")], 1, DAY, DAY)
    assert pairs_of(batch.pairs)[hash64("a"), hash64("b")] == (3, 2.5, 3.0)


def test_weights_are_decayed_to_the_newest_event_of_the_batch():
    [batch] = add_up([a_contribution("b", "a", at=NOW), a_contribution("d", "c", at=NOW + DAY)], 1, DAY, DAY)
    assert batch.reference_at == NOW + DAY
    assert pairs_of(batch.pairs)[hash64("a"), hash64("b")] == (1, 0.5, 0.5)
    assert pairs_of(batch.pairs)[hash64("c"), hash64("d")] == (1, 1.0, 1.0)


def test_an_item_is_no_neighbour_of_itself_but_counts_as_a_step():
    [batch] = add_up([a_contribution("a", "a", "b")], 1, DAY, DAY)
    assert pairs_of(batch.pairs)[hash64("b"), hash64("a")] == (1, 0.5, 1.0)
    assert (hash64("a"), hash64("a")) not in pairs_of(batch.pairs)


def test_every_item_goes_to_its_own_shard_and_only_there():
    items = [f"i-{number}" for number in range(40)]
    contributions = [a_contribution(item, *items[:10]) for item in items]
    batches = add_up(contributions, 7, DAY, DAY)
    assert [batch.shard for batch in batches] == sorted({hash64(item) % 7 for item in items})
    for batch in batches:
        named = [*batch.events["item"].tolist(), *batch.pairs["item"].tolist()]
        assert {item % 7 for item in named} == {batch.shard}
        assert [hash64(item_id) for item_id in batch.item_ids] == batch.events["item"].tolist()
    assert sum(len(batch.events) for batch in batches) == 40


def test_events_keep_their_weight_user_and_segments():
    contributions = [
        a_contribution("a", weight=5.0, user="u-7", segments=("device=tv", "all")),
        a_contribution("a", user="u-8"),
    ]
    [batch] = add_up(contributions, 1, DAY, DAY)
    assert batch.events["weight"].tolist() == [5.0, 1.0]
    assert batch.events["user"].tolist() == [hash64("u-7"), hash64("u-8")]
    named = [[batch.segment_names[place] for place in row if place >= 0] for row in batch.segments.tolist()]
    assert named == [["device=tv", "all"], ["all"]]


def test_nothing_adds_up_to_nothing():
    assert add_up([], 4, DAY, DAY) == []


def test_what_is_long_past_adds_nothing_and_harms_nothing():
    [batch] = add_up(
        [a_contribution("b", "a", at=1), a_contribution("b", "a", at=NOW)],
        1,
        half_life_ms=SECOND,
        half_life_between_ms=SECOND,
    )
    assert pairs_of(batch.pairs)[hash64("a"), hash64("b")] == pytest.approx((2, 1.0, 1.0))
