"""Which items and which queries a condition holds for, against a literal reading of it."""

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.messages import Context
from models.query.rules import holds, rules_of
from models.rules import Rule
from models.user.query import Query
from tests.models.builders import DAY_MS, NOW, AnItem, a_query, a_strategy, a_table

HOUR_MS = 3_600_000
HERE = (52.5, 13.4)
ONE_KM = 360 / 40_030.2
"""Degrees of latitude that are a kilometre."""


def north_of(here: tuple[float, float], km: float) -> tuple[float, float]:
    return here[0] + km * ONE_KM, here[1]


ITEMS = [
    AnItem("i-1", attributes=("category=shoes", "tag=new", "brand=Lamy"), price=10.0, created_at=NOW - DAY_MS,
           location=HERE, reach_km=1.0),
    AnItem("i-2", attributes=("category=shoes", "category=boots"), price=30.0, margin=3.0, created_at=NOW - 9 * DAY_MS,
           location=north_of(HERE, 4), reach_km=3.0),
    AnItem("i-3", attributes=("category=hats", "tag=sale"), created_at=0, location=north_of(HERE, 20)),
    AnItem("i-4", price=20.0, created_at=NOW - 40 * DAY_MS),
]  # fmt: skip


def found(where: dict[str, Any], **query: Any) -> set[str]:
    """Name the items that a rule with this condition is about."""
    table = a_table(ITEMS)
    asked = a_query(strategy=a_strategy(rules=(Rule("r", "filter", where),)), **query)
    return {
        table.ids[row]
        for one in rules_of(asked)
        for row in np.flatnonzero(holds(one.condition, table, slice(table.n))).tolist()
    }


@pytest.mark.parametrize(
    ("where", "items"),
    [
        ({}, {"i-1", "i-2", "i-3", "i-4"}),
        ({"id": {"in": ["i-2", "i-9"]}}, {"i-2"}),
        ({"category": {"eq": "boots"}}, {"i-2"}),
        ({"tag": {"in": ["new", "sale"]}}, {"i-1", "i-3"}),
        ({"attributes.brand": {"eq": "Lamy"}}, {"i-1"}),
        ({"price": {"le": 20}}, {"i-1", "i-4"}),
        ({"price": {"lt": 20}}, {"i-1"}),
        ({"price": {"eq": 30}}, {"i-2"}),
        ({"margin": {"gt": 0}}, {"i-2"}),
        ({"not": {"price": {"lt": 20}}}, {"i-2", "i-3", "i-4"}),
        ({"age_days": {"lt": 7}}, {"i-1"}),
        ({"age_days": {"gt": 7}}, {"i-2", "i-4"}),
        ({"all": [{"category": {"eq": "shoes"}}, {"price": {"ge": 20}}]}, {"i-2"}),
        ({"any": [{"category": {"eq": "hats"}}, {"price": {"ge": 20}}]}, {"i-2", "i-3", "i-4"}),
        ({"all": []}, {"i-1", "i-2", "i-3", "i-4"}),
        ({"any": []}, set()),
    ],
)
def test_a_condition_is_about_the_items_that_it_describes(where: dict[str, Any], items: set[str]):
    assert found(where) == items


@pytest.mark.parametrize(
    ("where", "context", "items"),
    [
        ({"category": {"eq": {"context": "looks_for"}}}, {"looks_for": "hats"}, {"i-3"}),
        ({"category": {"eq": {"context": "looks_for"}}}, {"looks_for": 7}, set()),
        ({"category": {"eq": {"context": "looks_for"}}}, None, set()),
        ({"not": {"category": {"eq": {"context": "looks_for"}}}}, None, {"i-1", "i-2", "i-3", "i-4"}),
        ({"price": {"le": {"context": "budget"}}}, {"budget": 15}, {"i-1"}),
        ({"price": {"le": {"context": "budget"}}}, {"budget": "15"}, set()),
        ({"all": [{"context.device": {"eq": "mobile"}}, {"tag": {"eq": "new"}}]}, {"device": "mobile"}, {"i-1"}),
        ({"all": [{"context.device": {"eq": "mobile"}}, {"tag": {"eq": "new"}}]}, {"device": "tv"}, set()),
        ({"all": [{"context.hour": {"ge": 18}}, {"tag": {"eq": "new"}}]}, {"hour": 20}, {"i-1"}),
        ({"all": [{"context.hour": {"ge": 18}}, {"tag": {"eq": "new"}}]}, {"hour": "late"}, set()),
        ({"all": [{"context.member": {"eq": True}}, {"id": {"eq": "i-4"}}]}, {"member": True}, {"i-4"}),
        ({"all": [{"context.member": {"eq": True}}, {"id": {"eq": "i-4"}}]}, {"member": 1}, set()),
        ({"all": [{"user.n_events": {"lt": 5}}, {"id": {"eq": "i-4"}}]}, None, {"i-4"}),
        ({"all": [{"user.id": {"in": ["u", "v"]}}, {"id": {"eq": "i-4"}}]}, None, {"i-4"}),
    ],
)
def test_what_the_query_says_decides_for_that_query(where: dict[str, Any], context: Context | None, items: set[str]):
    assert found(where, context=context) == items


@pytest.mark.parametrize(
    ("where", "items"),
    [
        ({"distance_km": {"lt": 5}}, {"i-1", "i-2"}),
        ({"distance_km": {"le": 0.1}}, {"i-1"}),
        ({"distance_km": {"gt": 5}}, {"i-3"}),
        ({"distance_km": {"ge": 0}}, {"i-1", "i-2", "i-3"}),
        ({"distance_km": {"lt": 30_000}}, {"i-1", "i-2", "i-3"}),
        ({"not": {"distance_km": {"lt": 5}}}, {"i-3", "i-4"}),
        ({"distance_km": {"gt": {"item": "reach_km"}}}, {"i-2"}),
        ({"distance_km": {"le": {"item": "reach_km"}}}, {"i-1"}),
        ({"distance_km": {"lt": {"context": "radius"}}}, {"i-1", "i-2"}),
        ({"distance_km": {"lt": {"context": "missing"}}}, set()),
        ({"distance_km": {"gt": {"context": "below_0"}}}, {"i-1", "i-2", "i-3"}),
        ({"distance_km": {"lt": {"context": "far"}}}, set()),
        ({"all": [{"distance_km": {"lt": 50}}, {"category": {"eq": "hats"}}]}, {"i-3"}),
        ({"any": [{"context.device": {"eq": "tv"}}, {"distance_km": {"lt": 1}}]}, {"i-1"}),
    ],
)
def test_a_distance_is_that_from_the_query_and_an_item_without_a_location_is_at_none(
    where: dict[str, Any], items: set[str]
):
    said: Context = {"radius": 5, "below_0": -1, "far": "far"}
    assert found(where, location=HERE, context=said) == items


@pytest.mark.parametrize(
    "where",
    [
        {"distance_km": {"gt": 5}},
        {"not": {"distance_km": {"le": 5}}},
        {"any": [{"category": {"eq": "hats"}}, {"distance_km": {"gt": 5}}]},
        {"distance_km": {"gt": {"item": "reach_km"}}},
    ],
)
def test_a_rule_that_asks_for_a_distance_does_nothing_where_it_is_not_known_where_the_query_is(where: dict[str, Any]):
    assert found(where, location=None) == set()


def test_queries_at_one_place_are_ranked_together():
    near = a_strategy(rules=(Rule("near", "filter", {"distance_km": {"gt": 5}}),))
    one, same, other = (rules_of(a_query(strategy=near, location=at)) for at in (HERE, HERE, north_of(HERE, 1)))
    assert one == same != other
    fading = a_strategy(rules=(Rule("near", "boost", half_km=5),))
    one, other = (rules_of(a_query(strategy=fading, location=at)) for at in (HERE, north_of(HERE, 1)))
    assert one == other


def test_an_age_goes_by_the_full_hour_so_that_queries_of_one_hour_are_ranked_together():
    hour = NOW // HOUR_MS * HOUR_MS
    young = a_strategy(rules=(Rule("young", "boost", {"age_days": {"lt": 7}}),))
    first, last, next_hour = (
        rules_of(a_query(strategy=young, at=at)) for at in (hour, hour + HOUR_MS - 1, hour + HOUR_MS)
    )
    assert first == last != next_hour


def a_condition(rng: random.Random, depth: int) -> dict[str, Any]:
    kind = rng.choice(["all", "any", "not", "leaf", "leaf"] if depth else ["leaf"])
    if kind == "not":
        return {"not": a_condition(rng, depth - 1)}
    if kind in ("all", "any"):
        return {kind: [a_condition(rng, depth - 1) for _ in range(rng.randint(0, 3))]}
    return rng.choice(
        [
            {"category": {"eq": rng.choice(["shoes", "boots", "hats"])}},
            {"tag": {"in": rng.sample(["new", "sale", "old"], rng.randint(0, 2))}},
            {"price": {rng.choice(["lt", "le", "gt", "ge"]): rng.choice([10, 20, 30])}},
            {"price": {"le": {"context": "budget"}}},
            {"context.device": {"eq": rng.choice(["mobile", "tv"])}},
            {"age_days": {rng.choice(["lt", "gt"]): rng.choice([2, 20])}},
        ]
    )  # fmt: skip


COMPARED = {"lt": float.__lt__, "le": float.__le__, "gt": float.__gt__, "ge": float.__ge__}


def is_met(where: dict[str, Any], item: AnItem, query: Query) -> bool:
    """Read a condition literally, for one item and one query."""
    ((name, held),) = where.items()
    if name == "not":
        return not is_met(held, item, query)
    if name in ("all", "any"):
        return {"all": all, "any": any}[name](is_met(part, item, query) for part in held)
    ((by, value),) = held.items()
    context = query.context or {}
    if isinstance(value, dict):
        value = context.get(value["context"], math.nan)
    if name == "context.device":
        return context.get("device") == value
    if name in ("category", "tag"):
        return any(f"{name}={one}" in item.attributes for one in (value if by == "in" else [value]))
    if name == "age_days":
        age = (NOW // HOUR_MS * HOUR_MS - item.created_at) / DAY_MS if item.created_at else math.nan
        return COMPARED[by](age, float(value))
    return COMPARED[by](item.price, float(value))


@given(seed=st.integers(0, 1_000_000))
def test_every_condition_is_what_it_says_literally(seed: int):
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    where = a_condition(rng, 3)
    context = rng.choice([None, {"device": "mobile"}, {"budget": 20.0}, {"device": "tv", "budget": 10.0}])
    query = a_query(context=context)
    assert found(where, context=context) == {item.item_id for item in ITEMS if is_met(where, item, query)}


@pytest.mark.parametrize("said", [10**400, 1e308, 1e39], ids=["400 digits", "1e308", "1e39"])
@pytest.mark.parametrize("field", ["price", "age_days", "distance_km", "margin"])
def test_a_number_that_a_query_says_may_be_of_any_size(field: str, said: float):
    """Such a number in one event's context ended the flow, at each start anew."""
    less = {field: {"lt": {"context": "n"}}}
    assert found(less, context={"n": said}, location=HERE) == found({field: {"lt": 1e6}}, location=HERE) != set()
    assert found(less, context={"n": -said}, location=HERE) == set()
