"""What items require and exclude holds on every slate, whatever the sources and the rankers say."""

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.items import ItemTable
from models.messages import Context, Item
from models.numeric.ids import hash64
from models.serving.recommender import Recommender
from models.user.query import Query
from tests.models.builders import (
    ALL,
    NOW,
    AnItem,
    a_query,
    a_random_query,
    a_random_world,
    a_strategy,
    a_table,
    some_random_sessions,
)
from tests.models.items.builders import NOW as NOW_OF_TABLES
from tests.states import evidence_of

CONTEXTS: list[Context | None] = [
    None,
    {"age": 17},
    {"age": 30, "member": True},
    {"member": "true", "device": "mobile"},
]
STATED = ["age=17", "age=30", "member=true", "device=mobile"]


def recommended(table: ItemTable, *queries: Query) -> list[list[str]]:
    """Serve queries as the flow does, interleaved where they have a rival."""
    return [[item.item_id for item in slate.items] for slate in Recommender(table).recommend(list(queries))]


def may_be_shown(query: Query, item: AnItem) -> bool:
    """Read the rules literally."""
    has = {hash64(f"{name}={str(value).lower()}") for name, value in (query.context or {}).items()} | set(query.owned)
    acted_on = set(evidence_of(query).recent_items)
    return all(hash64(name) in has for name in item.requires) and not any(
        hash64(name) in has | acted_on for name in item.excludes
    )


def a_ruled_world(seed: int) -> tuple[dict[str, AnItem], ItemTable]:
    """A random world, in which half of the items ask something of their user."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    items, trends = a_random_world(seed % 7)
    names = [*(item.item_id for item in items), *STATED]
    for item in items:
        item.requires = tuple(rng.sample(names, rng.choice([0, 0, 0, 1, 1, 2])))
        item.excludes = tuple(rng.sample(names, rng.choice([0, 0, 1, 3])))
    return {item.item_id: item for item in items}, a_table(items, trends, None, some_random_sessions(seed % 7))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000), own=st.booleans())
def test_no_slate_breaks_a_rule_whatever_the_scores(seed: int, own: bool):
    world, table = a_ruled_world(seed)
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    strategy = a_strategy(
        allow_seen=True,
        allow_current=True,
        allow_owned=True,
        max_impressions=100,
        exploration_slots=seed % 5,
        diversity=0.2,
        n_candidates=5 + seed % 60,
    )
    rival = a_strategy(sources={"trending": 1.0, "content": 1.0}, exploration_slots=3)
    queries = [
        a_random_query(
            seed + i,
            strategy=strategy,
            rival=rng.choice([None, rival]),
            owned=tuple(rng.sample(sorted(world), rng.choice([0, 8, 30]))),
            context=rng.choice(CONTEXTS),
            query=rng.choice([None, "Title"]),
            candidates=[*world, "nowhere"] if own else None,
            n_items=20,
        )
        for i in range(4)
    ]
    for query, slate in zip(queries, recommended(table, *queries), strict=True):
        assert all(may_be_shown(query, world[item]) for item in slate)
        if own and query.rival is None:
            given_back = [
                item
                for item, described in world.items()
                if may_be_shown(query, described)
                and described.available
                and described.named
                and hash64(item) != query.current_item
            ]
            assert len(slate) == min(20, sum_of_capped(given_back, world, strategy.max_per_category))


def sum_of_capped(items: list[str], world: dict[str, AnItem], cap: int) -> int:
    categories = [world[item].category for item in items]
    return sum(
        categories.count(category) if not category else min(cap, categories.count(category))
        for category in set(categories)
    )


COURSES = [
    AnItem("algebra"),
    AnItem("calculus", requires=("algebra",)),
    AnItem("analysis", requires=("algebra", "calculus")),
    AnItem("remedial", excludes=("algebra",)),
    AnItem("seniors", requires=("age=65",), excludes=("member=true",)),
]
TRENDS = {ALL: {item.item_id: 5.0 - place for place, item in enumerate(COURSES)}}
ANYTHING = a_strategy(allow_seen=True, allow_owned=True, max_per_category=9)


@pytest.mark.parametrize(
    ("owned", "recent", "context", "shown"),
    [
        ((), [], None, {"algebra", "remedial"}),
        (("algebra",), [], None, {"algebra", "calculus"}),
        (("algebra", "calculus"), [], None, {"algebra", "calculus", "analysis"}),
        (("calculus",), [], None, {"algebra", "remedial"}),
        ((), ["algebra"], None, {"algebra"}),
        ((), [], {"age": 65}, {"algebra", "remedial", "seniors"}),
        ((), [], {"age": 65, "member": True}, {"algebra", "remedial"}),
        (("age=65",), [], None, {"algebra", "remedial", "seniors"}),
    ],
)
def test_an_item_is_shown_to_those_who_have_what_it_requires_and_nothing_that_it_excludes(
    owned: tuple[str, ...], recent: list[str], context: Context | None, shown: set[str]
):
    query = a_query(recent, owned=owned, context=context, strategy=ANYTHING, n_items=10)
    assert set(recommended(a_table(COURSES, TRENDS), query)[0]) == shown


def test_each_user_of_a_batch_is_judged_alone():
    table = a_table(COURSES, TRENDS)
    asked = [a_query(user_id="new", strategy=ANYTHING), a_query(user_id="old", owned=("algebra",), strategy=ANYTHING)]
    together = recommended(table, *asked)
    assert together == [recommended(table, query)[0] for query in asked]
    assert [("calculus" in slate, "remedial" in slate) for slate in together] == [(False, True), (True, False)]


def test_a_new_entry_of_the_catalog_takes_the_place_of_the_old_ones_rules():
    table = ItemTable(NOW_OF_TABLES)
    query = a_query(strategy=ANYTHING, candidates=["calculus"])
    for requires, shown in ((["algebra"], []), ([], ["calculus"]), (["algebra"], [])):
        table.apply_items([Item("calculus", requires=requires)], [])
        assert recommended(table, query) == [shown]
    table.apply_items([], ["calculus"])
    table.apply_items([Item("calculus")], [])
    assert recommended(table, query) == [["calculus"]]
    assert not table.eligibility


def test_rules_do_not_depend_on_an_items_row():
    slates = [
        recommended(a_table(COURSES, TRENDS, shuffle), a_query(owned=("algebra",), strategy=ANYTHING))
        for shuffle in range(4)
    ]
    assert all(slate == slates[0] for slate in slates)
    assert np.unique([len(slate[0]) for slate in slates]).tolist() == [2]


def test_an_item_is_shown_until_it_expires_to_each_query_at_its_own_moment():
    items = [AnItem("always"), AnItem("soon", expires_at=NOW + 1_000), AnItem("later", expires_at=NOW + 5_000)]
    table = a_table(items, {ALL: {"always": 1.0, "soon": 3.0, "later": 2.0}})
    moments = {
        NOW - 1: ["soon", "later", "always"], NOW + 999: ["soon", "later", "always"], NOW + 1_000: ["later", "always"],
        NOW + 4_999: ["later", "always"], NOW + 5_000: ["always"],
    }  # fmt: skip
    asked = [a_query(user_id=f"u-{at}", at=at, strategy=ANYTHING) for at in moments]
    assert recommended(table, *asked) == list(moments.values())
    assert [recommended(table, query)[0] for query in asked] == list(moments.values())
    own = [replace(query, candidates=["soon", "later", "always"]) for query in asked]
    assert [sorted(slate) for slate in recommended(table, *own)] == [sorted(shown) for shown in moments.values()]


def test_a_new_entry_of_the_catalog_moves_or_takes_away_the_end_of_an_item():
    table = ItemTable(NOW_OF_TABLES)
    query = a_query(strategy=ANYTHING, candidates=["ticket"], at=NOW)
    for expires_at, shown in ((None, ["ticket"]), (NOW, []), (NOW + 1, ["ticket"]), (0, []), (None, ["ticket"])):
        table.apply_items([Item("ticket", expires_at=expires_at)], [])
        assert recommended(table, query) == [shown]
