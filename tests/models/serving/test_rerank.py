import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.items import ItemTable
from models.numeric.plackett_luce import place_probabilities
from models.serving.filling import Reranked
from models.serving.rerank import N_DIVERSIFIED, rerank
from tests.models.builders import AnItem, a_strategy, a_table

Choice = tuple[list[str], list[float], list[bool]]


def reranked(table: ItemTable, scores: dict[str, float], n_items: int, seed: int = 1, **rules: Any) -> Choice:
    """Re-rank one query's candidates, given by id."""
    rows = np.array([[*(table.ids.index(item) for item in scores), -1]], np.int32)
    given_scores = np.array([[*scores.values(), 99.0]], np.float32)
    result = rerank(
        rows,
        given_scores,
        np.array([n_items], np.int32),
        np.array([seed], np.uint64),
        a_strategy(**rules),
        table,
    )
    kept = result.positions[0] >= 0
    items = [table.ids[rows[0, position]] for position in result.positions[0][kept]]
    return items, result.propensities[0][kept].tolist(), result.explored[0][kept].tolist()


def plain(n: int) -> ItemTable:
    return a_table([AnItem(f"i{i}") for i in range(n)])


def mmr(table: ItemTable, scores: dict[str, float], n_items: int, diversity: float) -> list[str]:
    """Read Carbonell and Goldstein's formula literally."""
    best = sorted(scores, key=lambda item: (-scores[item], int(table.hashes[table.ids.index(item)])))
    pool = best[: max(N_DIVERSIFIED, 2 * n_items)]
    low, high = scores[pool[-1]], scores[pool[0]]
    vectors = {item: table.vectors[table.ids.index(item)].astype(int) for item in pool}
    chosen: list[str] = []
    while pool and len(chosen) < n_items:

        def value(item: str) -> float:
            nearest = max((int(vectors[item] @ vectors[other]) / 127**2 for other in chosen), default=0.0)
            relevance = (scores[item] - low) / (high - low) if high > low else 1.0
            return (1 - diversity) * relevance - diversity * nearest

        chosen.append(max(pool, key=value))
        pool.remove(chosen[-1])
    return chosen


def test_without_diversity_the_score_alone_orders_the_slate():
    assert reranked(plain(4), {"i0": -1, "i1": 3, "i2": 0, "i3": 2}, 3) == (
        ["i1", "i3", "i2"],
        [1.0, 1.0, 1.0],
        [False, False, False],
    )


def test_equal_scores_go_by_hash_whatever_the_row():
    items = [AnItem(f"i{i}") for i in range(20)]
    answers = [
        reranked(a_table(items, shuffle=shuffle), dict.fromkeys((item.item_id for item in items), 1.0), 5)[0]
        for shuffle in (1, 2, 3)
    ]
    assert answers[0] == answers[1] == answers[2]


def test_a_twin_gives_way_to_something_else():
    table = a_table([AnItem("a", vector=(1, 0)), AnItem("twin", vector=(1, 0)), AnItem("other", vector=(0, 1))])
    scores = {
        "a": 1.0,
        "twin": 0.9,
        "other": 0.5,
    }
    assert reranked(table, scores, 2, diversity=0.0)[0] == ["a", "twin"]
    # twin 0.5 * 0.8 - 0.5 * 1, other 0.5 * 0 - 0
    assert reranked(table, scores, 2, diversity=0.5)[0] == ["a", "other"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 90), diversity=st.sampled_from([0.0, 0.15, 0.5, 1.0]))
def test_diversity_is_maximal_marginal_relevance(seed: int, n: int, diversity: float):
    rng = np.random.default_rng(seed)
    table = a_table([AnItem(f"i{i}", vector=tuple(rng.normal(size=4))) for i in range(n)])
    scores = {f"i{i}": float(score) for i, score in enumerate(rng.normal(size=n).astype(np.float32))}
    assert reranked(table, scores, 10, diversity=diversity)[0] == mmr(table, scores, 10, diversity)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(0, 90),
    n_items=st.integers(1, 30),
    cap=st.integers(1, 5),
    slots=st.integers(0, 4),
)
def test_caps_lengths_and_distinctness_hold_whatever_comes_in(seed: int, n: int, n_items: int, cap: int, slots: int):
    rng = np.random.default_rng(seed)
    categories = {f"i{i}": str(rng.choice(["", "a", "b", "c"])) for i in range(n)}
    table = a_table([AnItem(i, category=category, vector=(1, 2)) for i, category in categories.items()])
    scores = {item: float(rng.normal()) for item in categories}
    items, propensities, explored = reranked(
        table, scores, n_items, max_per_category=cap, exploration_slots=slots, diversity=0.3
    )

    assert len(items) == len(set(items)) <= n_items
    held = Counter(categories[item] for item in items)
    assert all(count <= cap for category, count in held.items() if category)
    assert all(0 < p <= 1 for p in propensities)
    assert all(p == 1 for p, drawn in zip(propensities, explored, strict=True) if not drawn)
    assert explored == sorted(explored)
    assert sum(explored) <= slots
    open_places = [i for i in scores if i not in items and (not categories[i] or held[categories[i]] < cap)]
    assert len(items) == n_items or not open_places


def test_a_capped_category_lets_candidates_from_beyond_the_best_in():
    table = a_table([*(AnItem(f"drama{i}", category="Drama") for i in range(60)), AnItem("last", category="News")])
    scores = {f"drama{i}": 100.0 - i for i in range(60)} | {"last": 0.0}
    assert reranked(table, scores, 10, max_per_category=2)[0] == ["drama0", "drama1", "last"]


SCORES = {f"i{i}": score for i, score in enumerate([3.0, 2.0, 1.0, 0.5, -1.0])}
MEAN, DEVIATION = 1.1, math.sqrt(1.84)
STANDARD = {item: (score - MEAN) / DEVIATION for item, score in SCORES.items()}


def test_an_explored_position_is_drawn_in_proportion_to_the_exponentiated_standard_scores():
    table = plain(5)
    rest = {item: z for item, z in STANDARD.items() if item not in ("i0", "i1")}
    total = sum(math.exp(z / 0.7) for z in rest.values())
    expected = {item: math.exp(z / 0.7) / total for item, z in rest.items()}
    assert sum(expected.values()) == pytest.approx(1)

    drawn: Counter[str] = Counter()
    n = 4_000
    rows = np.tile(np.array([[table.ids.index(item) for item in SCORES]], np.int32), (n, 1))
    scores = np.tile(np.array([list(SCORES.values())], np.float32), (n, 1))
    seeds = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    strategy = a_strategy(exploration_slots=1, exploration_temperature=0.7)
    result = rerank(rows, scores, np.full(n, 3, np.int32), seeds, strategy, table)
    for b in range(n):
        item = list(SCORES)[result.positions[b, 2]]
        drawn[item] += 1
        assert result.propensities[b, 2] == pytest.approx(expected[item])
    for item, share in expected.items():
        assert abs(drawn[item] / n - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_the_probability_of_a_second_draw_is_given_the_first():
    items, propensities, explored = reranked(plain(5), SCORES, 3, exploration_slots=2)
    assert items[0] == "i0"
    assert explored == [False, True, True]
    left = {item: math.exp(z) for item, z in STANDARD.items() if item != "i0"}
    assert propensities[1] == pytest.approx(left[items[1]] / sum(left.values()))
    del_first = {item: weight for item, weight in left.items() if item != items[1]}
    assert propensities[2] == pytest.approx(del_first[items[2]] / sum(del_first.values()))


def test_a_temperature_means_the_same_of_scores_that_are_shifted_and_stretched():
    table, rng = plain(40), np.random.default_rng(4)
    scores = {f"i{k}": float(score) for k, score in enumerate(rng.random(40))}
    logits = {item: 25 * score - 100 for item, score in scores.items()}
    for seed in range(20):
        items, propensities, _ = reranked(table, scores, 10, seed, exploration_slots=4)
        of_logits = reranked(table, logits, 10, seed, exploration_slots=4)
        assert of_logits[0] == items
        assert of_logits[1] == pytest.approx(propensities, rel=1e-4)


def test_at_the_default_temperature_better_candidates_are_explored_more_often():
    """Scores of a blend, between 0 and 1, left all candidates alike."""
    table = plain(20)
    scores = {f"i{k}": 1 - k / 20 for k in range(20)}
    chances = {}
    for seed in range(300):
        items, propensities, _ = reranked(table, scores, 2, seed * 7_919, exploration_slots=1)
        chances[items[1]] = propensities[1]
    assert chances["i1"] > 10 * chances["i19"]


def test_the_same_seed_draws_the_same_and_others_draw_otherwise():
    table = plain(30)
    scores = {f"i{i}": 0.0 for i in range(30)}
    draws = [reranked(table, scores, 5, seed, exploration_slots=3)[0] for seed in (7, 7, 8, 9)]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


def test_more_slots_than_places_explore_every_place():
    items, _, explored = reranked(plain(5), SCORES, 2, exploration_slots=10)
    assert len(items) == 2
    assert explored == [True, True]


def test_scores_far_apart_explore_without_overflow():
    scores = {"i0": 1e30, "i1": 1e29, "i2": -1e30}
    items, propensities, _ = reranked(plain(3), scores, 2, exploration_slots=1, exploration_temperature=1e-4)
    assert items == ["i0", "i1"]
    assert propensities == [1.0, 1.0]


def test_no_candidates_make_an_empty_slate():
    assert reranked(plain(1), {}, 10, exploration_slots=2) == ([], [], [])


def test_neighbours_change_places_in_the_share_that_is_set_and_propensities_are_exact():
    table, scores = plain(6), {f"i{k}": float(-k) for k in range(6)}
    drawn = Counter()
    for seed in range(4_000):
        items, propensities, _ = reranked(table, scores, 4, seed * 2_654_435_761, swapped=0.3, exploration_slots=0)
        drawn[tuple(items), round(math.prod(propensities), 9)] += 1
    assert dict(drawn.keys()) == {
        ("i0", "i1", "i2", "i3"): 0.7,
        ("i1", "i0", "i2", "i3"): 0.1,
        ("i0", "i2", "i1", "i3"): 0.1,
        ("i0", "i1", "i3", "i2"): 0.1,
    }
    for (_, chance), n in drawn.items():
        assert n / 4_000 == pytest.approx(chance, abs=0.03)


def test_an_exchange_leaves_the_positions_that_explore_alone_and_takes_two_to_change():
    table, scores = plain(6), {f"i{k}": float(-k) for k in range(6)}
    for seed in range(50):
        assert reranked(table, scores, 2, seed, swapped=1.0, exploration_slots=1)[0][0] == "i0"
        assert reranked(table, scores, 3, seed, swapped=1.0, exploration_slots=1)[0][:2] == ["i1", "i0"]


def sampled_slates(n: int, share: float, cap: int, n_items: int) -> tuple[Reranked, NDArray[np.uint32]]:
    """Re-rank the same five candidates of two categories n times, of which a share is drawn as a whole."""
    table = a_table([AnItem(f"i{k}", category="ab"[k % 2] if k else "") for k in range(5)])
    rows = np.tile(np.array([[table.ids.index(item) for item in SCORES]], np.int32), (n, 1))
    scores = np.tile(np.array([list(SCORES.values())], np.float32), (n, 1))
    seeds = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    strategy = a_strategy(
        sampled=share,
        max_per_category=cap,
        exploration_slots=1,
        exploration_temperature=0.8,
        diversity=0.4,
        swapped=0.5,
    )
    return rerank(rows, scores, [n_items] * n, seeds.tolist(), strategy, table), table.category[rows[0]]


def test_slates_are_drawn_as_a_whole_in_the_share_that_is_set_and_propensities_are_exact_under_caps():
    n = 30_000
    result, categories = sampled_slates(n, 0.4, cap=1, n_items=3)
    assert result.sampled.mean() == pytest.approx(0.4, abs=0.012)
    drawn: Counter[tuple[int, ...]] = Counter()
    chances = {}
    for b in np.flatnonzero(result.sampled):
        slate = tuple(result.positions[b].tolist())
        drawn[slate] += 1
        chances[slate] = math.prod(result.propensities[b])
        assert result.explored[b].all()
        assert max(Counter(categories[[c for c in slate if categories[c]]].tolist()).values()) == 1
    assert sum(chances.values()) == pytest.approx(1)
    for slate, chance in chances.items():
        share = drawn[slate] / drawn.total()
        assert abs(share - chance) < 4.5 * math.sqrt(chance * (1 - chance) / drawn.total())


def test_what_was_drawn_as_a_whole_stands_at_its_places_as_often_as_its_logits_and_categories_say():
    result, categories = sampled_slates(30_000, 1.0, cap=1, n_items=3)
    for candidate in range(5):
        expected = np.empty(3)
        place_probabilities(result.logits[0], categories, 1, candidate, expected)
        assert (result.positions == candidate).mean(axis=0) == pytest.approx(expected, abs=0.015)


def test_a_slate_that_may_not_be_drawn_as_a_whole_is_made_as_without_a_share():
    table, scores = plain(6), np.array([[6, 5, 4, 3, 2, 1]], np.float32)
    rows = np.arange(6, dtype=np.int32)[None]
    result = rerank(rows, scores, [4], [5], a_strategy(sampled=1.0), table, may_sample=[False])
    assert result.positions.tolist() == [[0, 1, 2, 3]]
    assert result.propensities.tolist() == [[1, 1, 1, 1]]
    assert not result.sampled.any()
