"""What a rule may say, and how its mistakes are told."""

from typing import Any

import pytest

from models.rules import Group, Rule, RuleError, Stated, Term
from models.strategy import Strategy


def test_a_condition_is_read_as_it_is_written():
    where = {"all": [{"price": {"lt": 20}}, {"any": []}, {"not": {"category": {"in": ["shoes", "boots"]}}}]}
    shoes = Term("category", "in", ("shoes", "boots"))
    assert Rule("r", "filter", where).condition == Group(
        "all", (Term("price", "lt", 20), Group("any", ()), Group("not", (shoes,)))
    )
    assert Rule("r", "filter", {"tag": {"eq": {"context": "season"}}}).condition == Term("tag", "eq", Stated("season"))
    assert Rule("r", "filter").condition is True


@pytest.mark.parametrize(
    ("where", "path", "told"),
    [
        ({"prize": {"lt": 20}}, ("where", "prize"), "no such field: known are id, category"),
        ({"price": 20}, ("where", "price"), "give it one comparison of eq, in, lt"),
        ({"price": {"below": 20}}, ("where", "price"), "give it one comparison of eq, in, lt"),
        ({"price": {"lt": "20"}}, ("where", "price"), "a number is compared with a number"),
        ({"age_days": {"eq": 7}}, ("where", "age_days"), "a number is compared with a number"),
        ({"distance_km": {"eq": 5}}, ("where", "distance_km"), "with km from 0 on or with `{item: reach_km}`"),
        ({"distance_km": {"lt": -5}}, ("where", "distance_km"), "with km from 0 on"),
        ({"distance_km": {"lt": True}}, ("where", "distance_km"), "with km from 0 on"),
        ({"distance_km": {"lt": {"item": "price"}}}, ("where", "distance_km", "lt"), "compare with a text, a number"),
        ({"price": {"lt": {"item": "reach_km"}}}, ("where", "price", "lt"), "compare with a text, a number"),
        ({"context.latitude": {"gt": 50}}, ("where", "context.latitude"), "compare `distance_km`"),
        ({"price": {"lt": {"context": "longitude"}}}, ("where", "price", "lt"), "compare `distance_km`"),
        ({"category": {"lt": "shoes"}}, ("where", "category"), "a text is compared by `eq` or `in`"),
        ({"tag": {"eq": 1990}}, ("where", "tag"), "put what it is compared with in quotes"),
        ({"tag": {"in": ["new", 1990]}}, ("where", "tag"), "put what it is compared with in quotes"),
        ({"tag": {"in": "new"}}, ("where", "tag", "in"), "compare with a list of texts or numbers"),
        ({"tag": {"eq": ["new"]}}, ("where", "tag", "eq"), "compare with a text, a number"),
        ({"tag": {"eq": {"user": "id"}}}, ("where", "tag", "eq"), "`{context: NAME}`"),
        ({"all": {"price": {"lt": 20}}}, ("where", "all"), "give it a list of conditions"),
        ({"all": [{}, {"prize": {}}]}, ("where", "all", 1, "prize"), "no such field"),
        ({"price": {"lt": 1}, "tag": {"eq": "a"}}, ("where",), "put several into `all: [...]`"),
    ],
)
def test_a_mistake_in_a_condition_is_told_with_its_path(where: dict[str, Any], path: tuple[Any, ...], told: str):
    with pytest.raises(RuleError) as error:
        Rule("r", "boost", where)
    assert error.value.path == path
    assert told in str(error.value)


def test_conditions_are_nested_only_so_deep():
    where: dict[str, Any] = {"price": {"lt": 20}}
    for _ in range(100):
        where = {"not": where}
    with pytest.raises(RuleError, match="make it simpler"):
        Rule("r", "filter", where)


@pytest.mark.parametrize(
    ("rule", "at"),
    [
        ({"kind": "pin"}, "item"),
        ({"kind": "boost", "item": "i"}, "item"),
        ({"kind": "quota"}, "most"),
        ({"kind": "filter", "most": 2}, "most"),
        ({"kind": "bury", "half_km": 2.0}, "half_km"),
    ],
)
def test_a_rule_has_what_its_kind_needs_and_nothing_of_another(rule: dict[str, Any], at: str):
    with pytest.raises(RuleError) as error:
        Rule("r", **rule)
    assert error.value.path == (at,)


def test_rules_of_a_strategy_have_names_of_their_own():
    with pytest.raises(RuleError, match="two rules have one name"):
        Strategy(rules=(Rule("r", "filter"), Rule("r", "boost")))


@pytest.mark.parametrize("rule", [Rule("r", "pin", item="i"), Rule("r", "quota", most=1)])
def test_slates_that_are_drawn_as_a_whole_know_no_pins_and_quotas(rule: Rule):
    with pytest.raises(RuleError, match="set `sampled` to 0"):
        Strategy(sampled=0.1, rules=(rule,))
    assert Strategy(sampled=0.1, rules=(Rule("b", "boost"),)).rules
