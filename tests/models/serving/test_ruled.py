"""What rules do to slates: who is hidden, moved, placed and bounded, and that propensities stay exact."""

import math
from collections import Counter
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.items import ItemTable
from models.messages import Slate
from models.rules import Rule
from models.serving.recommender import Recommender
from models.serving.rerank import Quotas, rerank
from models.serving.ruled import apply_rules
from models.user.query import Query
from tests.models.builders import (
    ALL,
    AnItem,
    a_batch,
    a_query,
    a_random_query,
    a_random_world,
    a_strategy,
    a_table,
    same_message,
)

TRENDS = {ALL: {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
ITEMS = [
    AnItem("a", attributes=("tag=ad",)),
    AnItem("b", attributes=("tag=ad",)),
    AnItem("c"),
    AnItem("d", price=5.0),
    AnItem("campaign"),
    AnItem("gone", available=False),
]


def slates(*queries: Query, table: ItemTable | None = None) -> list[Slate]:
    return Recommender(table or a_table(ITEMS, TRENDS)).recommend(list(queries))


def shown(*rules: Rule, strategy: dict[str, Any] | None = None, **query: Any) -> list[tuple[str, str | None]]:
    """Serve a query by rules: each item with the rule that is named on it."""
    made = a_strategy(rules=rules, **(strategy or {}))
    (slate,) = slates(a_query(strategy=made, **query))
    return [(item.item_id, item.rule) for item in slate.items]


def ids(served: list[tuple[str, str | None]]) -> str:
    return "".join(item for item, _ in served)


def test_without_a_rule_no_item_names_one():
    assert shown() == [("a", None), ("b", None), ("c", None), ("d", None)]


def test_a_filter_hides_what_it_describes_also_of_given_candidates():
    no_ads = Rule("no-ads", "filter", {"tag": {"eq": "ad"}})
    assert shown(no_ads) == [("c", None), ("d", None)]
    assert ids(shown(no_ads, candidates=["b", "d"])) == "d"
    assert ids(shown(Rule("nothing", "filter"))) == ""


def test_a_boost_moves_up_by_standard_deviations_and_a_bury_down():
    # Scores 1, .75, .5, .25: a deviation is .28.
    assert shown(Rule("cheap", "boost", {"price": {"lt": 10}}, by=2)) == [
        ("a", None), ("d", "cheap"), ("b", None), ("c", None),
    ]  # fmt: skip
    assert ids(shown(Rule("cheap", "boost", {"price": {"lt": 10}}, by=3))) == "dabc"
    assert ids(shown(Rule("ads", "bury", {"tag": {"eq": "ad"}}, by=5))) == "cdab"


def test_boosts_add_up_and_the_one_that_moves_furthest_is_named():
    small = Rule("small", "boost", {"id": {"eq": "d"}}, by=1)
    large = Rule("large", "boost", {"price": {"lt": 10}}, by=2)
    assert shown(small, large)[0] == ("d", "large")


NEARBY = [
    AnItem("a", location=(52.5, 13.4)),
    AnItem("b", location=(52.5, 13.3)),  # 6.8 km west
    AnItem("c"),
    AnItem("d", location=(48.1, 11.6)),
]


def near(where: tuple[float, float] | None, *rules: Rule) -> list[tuple[str, str | None]]:
    """Serve a query from a place."""
    asked = a_query(strategy=a_strategy(rules=rules), location=where)
    (slate,) = slates(asked, table=a_table(NEARBY, TRENDS))
    return [(item.item_id, item.rule) for item in slate.items]


def test_a_boost_that_fades_with_the_distance_moves_the_near_furthest_and_is_named_where_it_acted():
    near_by = Rule("near", "boost", by=4, half_km=4)
    assert near((52.5, 13.4), near_by) == [("a", "near"), ("b", "near"), ("c", None), ("d", None)]
    assert near((52.5, 13.3), near_by) == [("b", "near"), ("a", "near"), ("c", None), ("d", None)]
    assert near((48.1, 11.6), near_by) == [("d", "near"), ("a", None), ("b", None), ("c", None)]
    assert near(None, near_by) == [("a", None), ("b", None), ("c", None), ("d", None)]


def test_nearness_is_a_half_at_the_named_distance_and_goes_in_eighths():
    scores, rows = np.array([[0.0, 0.0, 1.0, 1.0]], np.float32), np.arange(4, dtype=np.int32)[None]
    table = a_table(NEARBY)
    batch = a_batch(
        table, a_query(strategy=a_strategy(rules=(Rule("near", "boost", half_km=6.77),)), location=(52.5, 13.4))
    )
    moved, _ = apply_rules(scores, rows, [[]], batch, table)
    assert (moved - scores).tolist() == [[0.5, 0.25, 0.0, 0.0]]  # a standard deviation is a half


def test_queries_from_many_places_have_the_slates_that_each_would_have_alone():
    rules = (
        Rule("near", "boost", by=2, half_km=3),
        Rule("out-of-town", "filter", {"all": [{"distance_km": {"gt": 100}}, {"id": {"in": ["d", "c"]}}]}),
    )
    places = [(52.5, 13.4), None, (48.1, 11.6), (52.5, 13.4), (-90.0, 0.0)]
    asked = [a_query(user_id=f"u-{n}", location=at, strategy=a_strategy(rules=rules)) for n, at in enumerate(places)]
    table = a_table(NEARBY, TRENDS)
    together = slates(*asked, table=table)
    for query, slate in zip(asked, together, strict=True):
        assert same_message(slate, slates(query, table=table)[0])
    assert ["d" in {item.item_id for item in slate.items} for slate in together] == [False, True, True, False, False]


def test_propensities_of_draws_stay_exact_under_nearness():
    strategy = a_strategy(rules=(Rule("near", "boost", by=1.0, half_km=5),), exploration_slots=2, n_items=2)
    asked = [a_query(user_id=f"u-{n}", location=(52.5, 13.4), strategy=strategy) for n in range(1_500)]
    chances = {
        tuple(item.item_id for item in slate.items): math.prod(item.propensity for item in slate.items)
        for slate in slates(*asked, table=a_table(NEARBY, TRENDS))
    }
    assert len(chances) == 12
    assert sum(chances.values()) == pytest.approx(1)


def test_a_pin_places_an_item_that_nobody_proposed():
    pin = Rule("launch", "pin", item="campaign", position=1)
    (slate,) = slates(a_query(strategy=a_strategy(rules=(pin,), n_items=3)))
    assert [(item.item_id, item.position, item.propensity) for item in slate.items] == [
        ("a", 0, 1.0), ("campaign", 1, 1.0), ("b", 2, 1.0),
    ]  # fmt: skip
    placed = slate.items[1]
    assert (placed.rule, placed.source, placed.reason_code) == ("launch", "rule", "given")


def test_a_pin_moves_a_candidate_to_its_place_and_is_on_the_slate_once():
    assert shown(Rule("last-first", "pin", item="d")) == [("d", "last-first"), ("a", None), ("b", None), ("c", None)]


def test_a_pin_places_only_what_the_user_may_be_shown():
    assert ids(shown(Rule("p", "pin", item="gone"))) == "abcd"
    assert ids(shown(Rule("p", "pin", item="unknown"))) == "abcd"
    assert ids(shown(Rule("p", "pin", item="d"), owned=("d",))) == "abc"
    assert ids(shown(Rule("p", "pin", item="campaign"), candidates=["c", "b"])) == "bc"
    assert ids(shown(Rule("p", "pin", item="b"), Rule("no-ads", "filter", {"tag": {"eq": "ad"}}))) == "cd"
    assert ids(shown(Rule("p", "pin", item="d", where={"price": {"gt": 10}}))) == "abcd"


def test_a_pin_beyond_the_end_of_the_slate_has_no_place():
    assert ids(shown(Rule("p", "pin", item="campaign", position=3), n_items=3)) == "abc"


def test_of_two_pins_for_one_place_the_first_has_it_and_short_slates_are_filled_up():
    first, second = Rule("first", "pin", item="d", position=9), Rule("second", "pin", item="c", position=9)
    assert shown(first, second) == [("a", None), ("b", None), ("c", None), ("d", "first")]


def test_a_quota_bounds_a_slate_and_counts_what_is_pinned():
    quota = Rule("one-ad", "quota", {"tag": {"eq": "ad"}}, most=1)
    assert ids(shown(quota)) == "acd"
    assert ids(shown(quota, Rule("p", "pin", item="b", position=2))) == "cdb"
    assert ids(shown(Rule("none", "quota", {"tag": {"eq": "ad"}}, most=0))) == "cd"


def test_a_quota_lets_the_next_best_in_from_beyond_those_that_diversity_looks_at():
    items = [*(AnItem(f"ad{n}", attributes=("tag=ad",)) for n in range(60)), AnItem("last")]
    trends = {ALL: {item.item_id: 99.0 - n for n, item in enumerate(items)}}
    quota = Rule("two-ads", "quota", {"tag": {"eq": "ad"}}, most=2)
    (slate,) = slates(a_query(strategy=a_strategy(rules=(quota,))), table=a_table(items, trends))
    assert [item.item_id for item in slate.items] == ["ad0", "ad1", "last"]


def test_rules_that_ask_about_the_context_hold_for_their_queries_alone():
    rules = (
        Rule("mobile", "pin", {"context.device": {"eq": "mobile"}}, item="campaign"),
        Rule("budget", "filter", {"not": {"price": {"le": {"context": "budget"}}}}),
    )
    contexts = [{"device": "mobile", "budget": 9}, {"budget": 9}, {"budget": 9, "device": "tv"}]
    asked = [a_query(user_id=f"u-{n}", context=one, strategy=a_strategy(rules=rules)) for n, one in enumerate(contexts)]
    together = slates(*asked)
    assert [[item.item_id for item in slate.items] for slate in together] == [["d"], ["d"], ["d"]]
    assert all(same_message(slate, slates(query)[0]) for slate, query in zip(together, asked, strict=True))
    only_pin = [
        a_query(user_id=query.user_id, context=query.context, strategy=a_strategy(rules=rules[:1])) for query in asked
    ]
    assert [slate.items[0].item_id for slate in slates(*only_pin)] == ["campaign", "a", "a"]


def test_both_sides_of_an_interleaved_slate_keep_their_rules():
    pinned = a_strategy(rules=(Rule("p", "pin", item="campaign"),))
    (slate,) = slates(a_query(strategy=a_strategy(), rival=pinned))
    assert {item.item_id: item.rule for item in slate.items}["campaign"] == "p"


@settings(max_examples=40)
@given(seed=st.integers(0, 100_000))
def test_rules_hold_on_every_slate_whatever_else_is_asked(seed: int):
    items, trends = a_random_world(seed % 7)
    world, table = {item.item_id: item for item in items}, a_table(items, trends)
    some, other = f"category=c{seed % 6}", f"category=c{(seed + 1) % 6}"
    pinned = items[seed % len(items)].item_id
    rules = (
        Rule("hide", "filter", {"category": {"eq": some.partition("=")[2]}}),
        Rule("cap", "quota", {"category": {"eq": other.partition("=")[2]}}, most=seed % 3),
        Rule("place", "pin", item=pinned, position=seed % 4),
        Rule("dear", "bury", {"price": {"gt": 50}}, by=1.5),
    )
    strategy = a_strategy(rules=rules, exploration_slots=seed % 4, diversity=0.2, swapped=0.5 * (seed % 2))
    queries = [a_random_query(seed + i, strategy=strategy, n_items=1 + (seed + i) % 12) for i in range(4)]
    for query, slate in zip(queries, slates(*queries, table=table), strict=True):
        chosen = [item.item_id for item in slate.items]
        assert len(set(chosen)) == len(chosen) <= (query.n_items or 0)
        assert not any(some in world[item].attributes for item in chosen)
        placed = [item for item in slate.items if item.rule == "place"]
        n_capped = sum(other in world[item].attributes for item in chosen)
        assert n_capped <= max(seed % 3, sum(other in world[item.item_id].attributes for item in placed))
        assert all(item.item_id == pinned and item.propensity == 1 for item in placed)
        assert all(item.position == min(seed % 4, len(chosen) - 1) for item in placed)


SCORES = [3.0, 2.0, 1.0, 0.5, -1.0]
LOGITS = [(score - 1.1) / math.sqrt(1.84) for score in SCORES]


def chance_of(slate: tuple[int, ...], may: Any) -> float:
    """Multiply literally: each draw in proportion to exp(logit) among the candidates that may still stand."""
    chance = 1.0
    for place, candidate in enumerate(slate):
        free = [c for c in range(5) if c not in slate[:place] and may(slate[:place], c)]
        chance *= math.exp(LOGITS[candidate]) / sum(math.exp(LOGITS[c]) for c in free) if candidate in free else 0.0
    return chance


def test_propensities_of_draws_are_exact_under_quotas():
    """Of all slates that can be drawn, each comes as often as its propensities say, and they add up to 1."""
    n, members = 20_000, [{0, 1, 2}, {2, 3}]
    limits = [1, 1]
    quotas = Quotas(
        np.tile(np.array([[c in held for c in range(5)] for held in members]), (n, 1, 1)),
        np.tile(np.array(limits, np.int32), (n, 1)),
    )
    rows = np.tile(np.arange(5, dtype=np.int32), (n, 1))
    seeds = (np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).tolist()
    strategy, table = a_strategy(exploration_slots=2), a_table([AnItem(f"i{c}") for c in range(5)])
    result = rerank(rows, np.tile(np.array(SCORES, np.float32), (n, 1)), [2] * n, seeds, strategy, table, None, quotas)

    def may(before: tuple[int, ...], c: int) -> bool:
        return all(c not in held or len(held & set(before)) < most for held, most in zip(members, limits, strict=True))

    expected = {slate: chance for slate in permutations(range(5), 2) if (chance := chance_of(slate, may)) > 0}
    assert sum(expected.values()) == pytest.approx(1)
    drawn = Counter(map(tuple, result.positions.tolist()))
    assert drawn.keys() == expected.keys()
    for slate, chance in expected.items():
        assert abs(drawn[slate] / n - chance) < 4.5 * math.sqrt(chance * (1 - chance) / n)
    chances = result.propensities.prod(axis=1)
    assert chances == pytest.approx([expected[tuple(slate)] for slate in result.positions.tolist()], rel=1e-5)


def test_propensities_beside_a_pin_are_those_of_the_others_alone():
    strategy = a_strategy(rules=(Rule("p", "pin", item="c", position=1),), exploration_slots=2, n_items=3)
    chances: dict[tuple[str, ...], float] = {}
    for slate in slates(*(a_query(user_id=f"u-{n}", strategy=strategy) for n in range(1_500))):
        assert slate.items[1].item_id == "c"
        chances[tuple(item.item_id for item in slate.items)] = math.prod(item.propensity for item in slate.items)
    assert len(chances) == 6
    assert sum(chances.values()) == pytest.approx(1)


def test_a_boost_makes_a_draw_more_probable():
    boosted = a_strategy(rules=(Rule("d", "boost", {"id": {"eq": "d"}}, by=1.0),), exploration_slots=1, n_items=1)
    plain = a_strategy(exploration_slots=1, n_items=1)
    chance = {}
    for name, strategy in (("boosted", boosted), ("plain", plain)):
        for slate in slates(*(a_query(user_id=f"u-{n}", strategy=strategy) for n in range(500))):
            (item,) = slate.items
            chance[name, item.item_id] = item.propensity
    for name in ("boosted", "plain"):
        assert sum(chance[name, item] for item in "abcd") == pytest.approx(1)
    assert chance["boosted", "d"] > 1.4 * chance["plain", "d"]
