import math
from dataclasses import replace
from typing import cast

import numpy as np
import pytest

from models.candidates.content import Content
from models.candidates.covisitation import Covisitation
from models.candidates.habits import Habits
from models.candidates.protocol import CandidateSource
from models.candidates.sequential_rules import SequentialRules
from models.candidates.two_step_rules import TwoStepRules
from models.items import ItemTable
from models.numeric.ids import hash32
from models.user.query import Query
from tests.models.builders import (
    DAY_MS,
    NOW,
    AnItem,
    ArrayTable,
    a_batch,
    a_query,
    a_table,
    candidates_of,
    causes_of,
)


def scores(source: CandidateSource, table: ItemTable, query: Query) -> dict[str, float]:
    found = candidates_of(source, table, a_batch(table, query), 10)
    return {table.ids[r]: float(s) for r, s in zip(found.rows[0], found.scores[0], strict=True) if r >= 0}


def cause(source: CandidateSource, table: ItemTable, query: Query, item: str) -> int:
    rows = np.array([[table.ids.index(item)]], np.int32)
    return int(causes_of(source, table, a_batch(table, query), rows)[0, 0])


CHAIN = [
    AnItem("a", rules={"x": 3.0, "y": 1.0}, covisits={"x": 4.0, "y": 2.0}, popularity=(0, 11)),
    AnItem("b", rules={"x": 1.0, "z": 1.0}, covisits={"x": 1.0, "z": 3.0}, popularity=(0, 4)),
    AnItem("x", popularity=(0, 20)),
    AnItem("y", popularity=(0, 95)),
    AnItem("z", popularity=(0, 31)),
]


def test_rules_of_the_newest_item_count_in_full_and_of_the_one_before_by_half():
    # a: x 3/4, y 1/4; b, one step further back: x 1/2 * 1/2, z 1/2 * 1/2
    found = scores(SequentialRules(), a_table(CHAIN), a_query(["a", "b"]))
    assert found == pytest.approx({"x": 1.0, "y": 0.25, "z": 0.25})


def test_rules_leave_out_what_was_before_the_session_but_never_the_newest_item():
    table = a_table(CHAIN)
    only_a = {"x": 0.75, "y": 0.25}
    assert scores(SequentialRules(), table, a_query(["a", "b"], n_in_session=1)) == pytest.approx(only_a)
    assert scores(SequentialRules(), table, a_query(["a", "b"], n_in_session=0)) == pytest.approx(only_a)


def test_rules_name_the_item_that_weighed_most():
    table = a_table(CHAIN)
    assert cause(SequentialRules(), table, a_query(["a", "b"]), "x") == table.ids.index("a")
    assert cause(SequentialRules(), table, a_query(["a", "b"]), "z") == table.ids.index("b")
    assert cause(SequentialRules(), table, a_query(["a", "b"]), "a") == -1


def test_a_walks_first_step_goes_on_or_back_and_its_second_only_on():
    # From a to b, what came after it: 0.7 + 0.3 * 1; to c, what came before it: 0 + 0.3 * 1; then all of their rules.
    walked = [
        AnItem("a", rules={"b": 0.7, "c": 0.0}, covisits={"b": 1.0, "c": 1.0}),
        AnItem("b", rules={"x": 1.0, "u": 0.0}, covisits={"x": 1.0, "u": 1.0}),
        AnItem("c", rules={"y": 2.0}, covisits={"y": 1.0}),
    ]
    table = a_table([*walked, AnItem("u"), AnItem("x"), AnItem("y")])
    assert scores(TwoStepRules(), table, a_query(["a"])) == pytest.approx({"x": 1 / 1.3, "y": 0.3 / 1.3})
    assert cause(TwoStepRules(), table, a_query(["a", "x"]), "y") == table.ids.index("a")


def test_covisitation_is_damped_by_both_items_visits_and_by_recency():
    # sqrt of visits + 5: a 4, b 3, x 5, y 10, z 6
    e = math.exp(-1 / 5)
    found = scores(Covisitation(), a_table(CHAIN), a_query(["a", "b"]))
    assert found == pytest.approx({"x": 4 / 20 + e * 1 / 15, "y": 2 / 40, "z": e * 3 / 18})


def test_covisitation_is_the_same_whatever_moment_the_weights_refer_to():
    table = a_table(CHAIN)
    half_life = 30 * DAY_MS
    later = cast("ItemTable", replace(cast("ArrayTable", table), landmark_at=NOW - 2 * half_life))
    later.links.arrays.covisits[:] *= 4
    later.popularity *= 4
    expected = scores(Covisitation(), a_table(CHAIN), a_query(["a", "b"]))
    assert scores(Covisitation(), later, a_query(["a", "b"])) == pytest.approx(expected)


def test_habits_are_damped_by_recency_and_more_by_where_they_begin_than_by_where_they_lead():
    # sqrt(11 + 5) = 4, (76 + 5)^(1/4) = 3
    table = a_table([AnItem("a", habits={"x": 6.0}, popularity=(0, 11)), AnItem("b"), AnItem("x", popularity=(0, 76))])
    assert scores(Habits(), table, a_query(["a", "b"])) == pytest.approx({"x": 0.5})
    assert scores(Habits(), table, a_query(["b", "a"])) == pytest.approx({"x": 0.25})
    assert cause(Habits(), table, a_query(["b", "a"]), "x") == table.ids.index("a")


def test_a_disliked_item_brings_nothing_but_keeps_its_place():
    e = math.exp(-1 / 5)
    query = a_query(["a", "b"], weights=[-1.0, 1.0])
    assert scores(Covisitation(), a_table(CHAIN), query) == pytest.approx({"x": e / 15, "z": e * 3 / 18})
    assert scores(SequentialRules(), a_table(CHAIN), query) == pytest.approx({"x": 0.25, "z": 0.25})


def test_what_the_user_looks_at_counts_as_the_newest_item():
    table = a_table(CHAIN)
    assert scores(SequentialRules(), table, a_query([], current="a")) == pytest.approx({"x": 0.75, "y": 0.25})
    assert scores(SequentialRules(), table, a_query(["b"], current="a")) == pytest.approx(
        scores(SequentialRules(), table, a_query(["a", "b"]))
    )


FILMS = [
    AnItem("old drama", attributes=("category=Drama", "tag=slow"), popularity=(9, 90)),
    AnItem("new drama", attributes=("category=Drama",), popularity=(0, 0), created_at=NOW),
    AnItem("comedy", attributes=("category=Comedy",)),
    AnItem("plain"),
]


def test_content_finds_items_nobody_has_seen_by_the_users_interests():
    # idf: Drama ln(5 / 3), slow ln(5 / 2); tastes: Drama (2/2 + 4/4) * idf, slow (1/2 + 0) * idf
    query = a_query(interests={"category=Drama": (2.0, 4.0), "tag=slow": (1.0, 0.0), "category=Comedy": (-1.0, 0.0)})
    drama, slow = 2 * math.log(5 / 3), 0.5 * math.log(5 / 2)
    assert scores(Content(), a_table(FILMS), query) == pytest.approx({"old drama": drama + slow, "new drama": drama})


def test_content_names_the_attribute_that_the_user_likes_most():
    table = a_table(FILMS)
    query = a_query(interests={"category=Drama": (2.0, 4.0), "tag=slow": (1.0, 0.0)})
    assert cause(Content(), table, query, "old drama") == hash32("category=Drama")
    assert cause(Content(), table, query, "comedy") == -1


def test_a_user_without_interests_gets_what_is_like_the_page():
    found = scores(Content(), a_table(FILMS), a_query(current="old drama"))
    assert list(found) == ["new drama"]


def test_only_the_eight_strongest_attributes_are_looked_up():
    items = [AnItem(f"i{i}", attributes=(f"tag={i}",)) for i in range(10)]
    query = a_query(interests={f"tag={i}": (float(i + 1), 0.0) for i in range(10)})
    assert list(scores(Content(), a_table(items), query)) == [f"i{i}" for i in range(9, 1, -1)]
