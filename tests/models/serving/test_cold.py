from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.items.vectors import HASHED
from models.items.wire import ContentRow, GraduatedRow, graduated_key
from models.messages import Event, Item, Request, Slate
from models.rules import Rule
from models.serving.filling import ColdPool
from models.serving.recommender import Recommender
from models.serving.rerank import rerank
from models.serving.slates import COLD
from models.strategy import Strategy
from models.user.query import Query
from models.user.state import UserState
from tests.benchmarks.cold import AT_ONCE, GRADUATES_AFTER, Shop
from tests.benchmarks.cold import BUDGET as WORLD_BUDGET
from tests.models.builders import AnItem, a_strategy, a_table

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
KINDS = ("crime", "drama", "space", "opera")
BY_TASTE = Strategy(sources={"content": 1.0}, max_per_category=100)
"""A strategy of a shop that goes by what items are, since it knows little of what people do."""
BUDGET = replace(BY_TASTE, cold_share=0.3, cold_most=1)


def an_item(n: int, prefix: str = "known", **says: Any) -> Item:
    kind = KINDS[n % len(KINDS)]
    return Item(f"{prefix}{n}", **{"title": f"{kind} story", "categories": [kind], "created_at": 1} | says)


def arrive(table: ItemTable, *items: Item) -> None:
    """Let new items come, as the catalog and `learn` say of them."""
    table.apply_items([replace(item, created_at=NOW) for item in items], [])
    rows = [ContentRow(item.item_id, 1, vector) for item, vector in zip(items, HASHED.items(items), strict=True)]
    table.apply_rows([row.key.encode() for row in rows], [row.pack() for row in rows])


def a_shop(n_items: int = 200, n_acts: int = 6) -> ItemSide:
    """A shop whose items are known: each was acted on so often."""
    side = ItemSide(
        [an_item(n) for n in range(n_items)], NOW - DAY_MS, ItemSideConfig(shards=4), EventConfig(), ProfileConfig()
    )
    side.learn(
        [
            Event(f"e-{n}-{act}", f"u-{n}-{act}", f"known{n}", "click", NOW - DAY_MS + n * 10 + act)
            for n in range(n_items)
            for act in range(n_acts)
        ]
    )
    return side


def a_visitor(table: ItemTable, strategy: Strategy, user: int = 0, likes: int = 0, **asked: Any) -> Query:
    """Somebody who has looked at one item of a kind, and opens a page."""
    state = UserState(ProfileConfig(), EventConfig())
    state.take(Event(f"v-{user}", f"v-{user}", f"known{likes}", "view", NOW), 0, table)
    return state.due(Request(f"r-{user}", f"v-{user}", NOW + 1_000, **asked), strategy)


def slates(table: ItemTable, strategy: Strategy, n: int, **asked: Any) -> list[Slate]:
    return Recommender(table).recommend([a_visitor(table, strategy, user, **asked) for user in range(n)])


def of_flood(slate: Slate) -> int:
    return sum(item.item_id.startswith("flood") for item in slate.items)


def graduate(table: ItemTable, *item_ids: str) -> None:
    keys: list[bytes] = [graduated_key(item_id).encode() for item_id in item_ids]
    table.apply_rows(keys, [GraduatedRow(item_id, 1, NOW - DAY_MS).pack() for item_id in item_ids])


def test_a_flood_of_100_000_new_items_takes_no_place_but_the_budgets():
    table = a_shop().table
    arrive(table, *(an_item(n, "flood") for n in range(100_000)))
    unbounded = [of_flood(slate) for slate in slates(table, BY_TASTE, 50)]
    assert np.mean(unbounded) >= 4  # what it is about: without a budget, half of each slate is theirs
    bounded = [of_flood(slate) for slate in slates(table, BUDGET, 400)]
    assert max(bounded) == 1
    assert 0.22 < np.mean(bounded) < 0.38


def test_a_slate_without_a_place_for_a_cold_item_is_what_it_would_be_if_there_were_none():
    flooded, calm = a_shop(), a_shop()
    arrive(flooded.table, *(an_item(n, "flood") for n in range(1_000)))
    by_trends = replace(BUDGET, sources={"trending": 1.0})
    compared = 0
    for with_them, without in zip(
        slates(flooded.table, by_trends, 100), slates(calm.table, by_trends, 100), strict=True
    ):
        if not of_flood(with_them):
            assert with_them.items == without.items
            compared += 1
    assert 50 < compared < 90


def test_a_cold_item_says_what_it_is_and_how_probable_it_was():
    table = a_shop().table
    arrive(table, *(an_item(n, "new") for n in range(3)))
    placed = [item for slate in slates(table, BUDGET, 200) for item in slate.items if item.item_id.startswith("new")]
    assert {(item.source, item.reason_code, item.position) for item in placed} == {(COLD, "exploration", 8)}
    by_item = {item.item_id: item.propensity for item in placed}
    assert sum(by_item.values()) == pytest.approx(1)
    assert by_item["new0"] > 2 * by_item["new1"]  # of the kind that the visitors looked at


def a_pool(n: int, logits: list[float], rows: list[int]) -> ColdPool:
    shape = (n, 1)
    return ColdPool(
        np.tile(np.array(rows, np.int32), shape), np.tile(np.array(logits, np.float32), shape), np.ones(n, np.bool_)
    )


def test_the_frequencies_of_draws_are_the_propensities_that_are_logged_also_where_a_cap_forbids_some():
    names = ("a", "b", "c", "d", "full", "x", "y")
    kinds = {"a": "full", "b": "full", "full": "full"}
    table = a_table([AnItem(name, category=kinds.get(name, "")) for name in names])
    row = {name: table.ids.index(name) for name in names}
    n = 20_000
    candidates = np.tile(np.array([row[name] for name in "abcd"], np.int32), (n, 1))
    scores = np.tile(np.array([4, 3, 2, 1], np.float32), (n, 1))
    pool = a_pool(n, [3.0, 1.0, 0.0], [row["full"], row["x"], row["y"]])
    strategy = a_strategy(max_per_category=2, exploration_slots=0)
    result = rerank(candidates, scores, [3] * n, list(range(n)), strategy, table, cold=pool)
    assert (result.positions[:, :2] == [0, 1]).all()
    drawn = result.positions[:, 2] - candidates.shape[1]
    share = np.e / (1 + np.e)
    assert not (drawn == 0).any()  # two of its category stand above it
    assert result.propensities[drawn == 1, 2] == pytest.approx(share)
    assert result.propensities[drawn == 2, 2] == pytest.approx(1 - share)
    assert (drawn == 1).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / n))
    assert result.explored[:, 2].all()


def test_where_no_cold_item_may_stand_the_place_stays_with_the_candidate_and_nothing_was_left_to_chance():
    table = a_table([AnItem("a", category="k"), AnItem("b"), AnItem("new", category="k")])
    rows = np.array([[table.ids.index(name) for name in ("a", "b")]], np.int32)
    strategy = a_strategy(max_per_category=1, exploration_slots=0)
    pool = a_pool(1, [0.0], [table.ids.index("new")])
    result = rerank(rows, np.array([[2, 1]], np.float32), [2], [1], strategy, table, cold=pool)
    assert (result.positions.tolist(), result.propensities.tolist()) == ([[0, 1]], [[1.0, 1.0]])
    assert not result.explored.any()


def test_an_item_that_has_graduated_or_was_acted_on_often_leaves_the_pool_and_stands_anywhere():
    side = a_shop()
    arrive(side.table, *(an_item(4 * n, "new") for n in range(3)))
    graduate(side.table, "new0")
    side.learn([Event(f"a-{n}", f"a-{n}", "new4", "click", NOW + n) for n in range(6)])
    placed: Counter[tuple[str, str]] = Counter()
    for slate in slates(side.table, replace(BUDGET, cold_share=1.0, n_items=60), 20):
        placed.update((item.item_id, item.source) for item in slate.items if item.item_id.startswith("new"))
    assert {item for item, source in placed if source == COLD} == {"new8"}
    assert {item for item, source in placed if source != COLD} == {"new0", "new4"}


def test_what_said_that_an_item_has_graduated_can_be_taken_back():
    table = a_shop().table
    graduate(table, "new0")
    table.apply_rows([graduated_key("new0").encode()], [None])
    assert not table.graduated[table.rows_of(np.array([table.hashes[table.n - 1]]))].any()


def test_where_nothing_else_is_left_cold_items_fill_the_slate():
    side = a_shop(n_items=4)
    arrive(side.table, *(an_item(n, "new") for n in range(50)))
    for slate in slates(side.table, replace(BUDGET, sources={"trending": 1.0}), 20):
        assert len(slate.items) == 10
        known = [item.item_id.startswith("known") for item in slate.items]
        assert 2 <= sum(known) <= 3
        drawn = [item for item in slate.items if item.source == COLD]
        assert all(0 < item.propensity <= 1 for item in drawn)
        assert len({item.item_id for item in slate.items}) == 10


def test_searches_and_lists_of_given_candidates_find_cold_items_as_ever():
    table = a_shop().table
    arrive(table, *(an_item(n, "new", title="fresh opera") for n in range(10)))
    [searched] = slates(table, BUDGET, 1, query="fresh opera")
    assert searched.items[0].item_id.startswith("new")
    [given] = slates(table, BUDGET, 1, candidates=["new1", "known5"])
    assert {item.item_id for item in given.items} == {"new1", "known5"}
    assert {item.source for item in given.items} <= {"request", "content", "trending"}


def test_rules_hold_for_cold_items():
    table = a_shop().table
    arrive(table, *(an_item(n, "new", tags=["sponsored"]) for n in range(10)))
    always, sponsored = replace(BUDGET, cold_share=1.0), {"tag": {"eq": "sponsored"}}

    def cold(*rules: Rule) -> list[str]:
        made = slates(table, replace(always, rules=rules), 20)
        assert all(len({item.item_id for item in slate.items}) == 10 for slate in made)
        return [item.item_id for slate in made for item in slate.items if item.source == COLD]

    assert len(cold()) == 20
    assert cold(Rule("none", "filter", where=sponsored)) == []
    assert cold(Rule("no-more", "quota", most=0, where=sponsored)) == []
    pin = Rule("launch", "pin", item="new3", position=0)
    assert "new3" not in cold(pin)
    assert cold(pin, Rule("one", "quota", most=1, where=sponsored)) == []


def test_a_slate_depends_neither_on_row_numbers_nor_on_the_queries_beside_it():
    table, other = a_shop().table, a_shop().table
    new = [an_item(n, "new") for n in range(600)]
    arrive(table, *new)
    arrive(other, *new[::-1])
    strategy = replace(BUDGET, cold_share=1.0)
    together = slates(table, strategy, 20)
    alone = [Recommender(other).recommend([a_visitor(other, strategy, user)])[0] for user in range(20)]
    assert [slate.items for slate in together] == [slate.items for slate in alone]


def test_new_items_stand_on_a_slate_by_merit_up_to_the_bound_however_many_there_are():
    table = a_shop().table
    arrive(table, *(an_item(n, "flood") for n in range(3)))
    open_to_new = replace(BUDGET, cold_most=3)
    few = slates(table, open_to_new, 50)
    arrive(table, *(an_item(n, "flood") for n in range(2_000)))
    many = slates(table, open_to_new, 50)
    for made in (few, many):
        assert max(of_flood(slate) for slate in made) <= 3
        assert {item.source for slate in made for item in slate.items if of_flood(slate)} >= {"content", COLD}
    assert max(sum(item.source != COLD for item in slate.items if "flood" in item.item_id) for slate in many) == 2


def test_an_item_that_is_a_candidate_and_cold_stands_on_a_slate_once():
    side = a_shop(n_items=12)
    arrive(side.table, *(an_item(n, "new") for n in range(6)))
    side.learn([Event(f"a-{n}", "somebody", f"new{n}", "click", NOW + n) for n in range(6)])
    strategy = replace(BUDGET, cold_share=1.0, exploration_slots=3, sources={"content": 1.0, "covisitation": 1.0})
    for slate in slates(side.table, strategy, 100):
        assert len({item.item_id for item in slate.items}) == len(slate.items)
        assert any(item.source == COLD for item in slate.items)


def test_a_slate_that_is_drawn_as_a_whole_has_no_place_for_a_cold_item():
    table = a_shop().table
    arrive(table, *(an_item(n, "new") for n in range(6)))
    made = slates(table, replace(BUDGET, cold_share=1.0, sampled=0.5), 60)
    drawn = [slate for slate in made if slate.sampled_from is not None]
    assert 15 < len(drawn) < 45
    assert all((slate in drawn) != any(item.source == COLD for item in slate.items) for slate in made)


def test_good_new_items_are_found_and_the_budget_is_kept():
    n_hours, share = 12, 0.6
    without = Shop(replace(WORLD_BUDGET, cold_share=0.0), seed=3).run(n_hours, 5, 200)
    found = Shop(replace(WORLD_BUDGET, cold_share=share), seed=3).run(n_hours, 5, 200)
    assert found.found > without.found
    assert found.clicks_a_slate(6, 12) > 0.9 * without.clicks_a_slate(6, 12)
    assert len(found.graduated) > 15
    assert found.most_on_a_slate == 1
    # What is shown between two publications is counted afterwards.
    assert max(found.cold_shown.values()) < GRADUATES_AFTER + AT_ONCE
    for user, n in found.slates_of_user.items():
        assert found.cold_of_user[user] <= n * share + 5 * np.sqrt(n * share * (1 - share))
