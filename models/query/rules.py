"""Rules for a query: what of each still depends on the items alone, and which items it then is about."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Bools, Doubles, Int32s
from models.numeric.ids import hash32, hash_all
from models.numeric.sphere import haversine_of, haversines, unit_vectors
from models.rules import DISTANCE, MEASURED, NAMED, Comparison, Condition, Constant, Group, OfItem, Rule, Stated, Term
from models.user.query import Query

DAY_MS = 86_400_000
END_OF_TIME_DAYS = 2**53 // DAY_MS
"""From the beginning of Unix time; no message has a later one."""
LARGEST = float(np.finfo(np.float32).max)
"""What the columns hold."""
HOUR_MS = 3_600_000
CREATED_AT = "created_at"
"""What an age has become once the query's moment is known."""
_YOUNGER: dict[Comparison, Comparison] = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}
_COMPARE: dict[Comparison, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resolved:
    """A rule that holds for a query, or for all queries of a batch."""

    rule: Rule
    condition: Condition
    """Asks about the item alone: what it asked about the query is answered."""


def rules_of(query: Query) -> tuple[Resolved, ...]:
    """Return the rules of a query's strategy, without those of which its context already says that they do not hold.

    An age goes by the full hour before the query, so that queries of one hour share what was found. A rule that asks
    for a distance holds for no query of which it is not known where it is.
    """
    if not query.strategy.rules:
        return ()
    known = [rule for rule in query.strategy.rules if query.location is not None or not rule.asks_distance]
    resolved = [Resolved(rule, _resolve(rule.condition, query)) for rule in known]
    return tuple(one for one in resolved if one.condition is not False)


def _resolve(condition: Condition, query: Query) -> Condition:
    if isinstance(condition, bool):
        return condition
    if isinstance(condition, Term):
        return _resolve_term(condition, query)
    parts = [_resolve(part, query) for part in condition.parts]
    if condition.by == "not":
        return not parts[0] if isinstance(parts[0], bool) else Group("not", (parts[0],))
    decides = condition.by == "any"  # one true part makes `any` true, one false part makes `all` false
    if decides in parts:
        return decides
    left = tuple(part for part in parts if not isinstance(part, bool))
    return Group(condition.by, left) if left else not decides


def _resolve_term(term: Term, query: Query) -> Condition:
    if isinstance(term.value, OfItem):
        return replace(term, is_stated=True, origin=query.location)
    value = _said(query, f"context.{term.value.name}") if isinstance(term.value, Stated) else term.value
    if value is None:
        return False
    if not term.is_of_item:
        return _holds(_said(query, term.field), term.by, value)
    return _resolve_number(term, value, query) if term.field in MEASURED else _resolve_text(term, value)


def _resolve_text(term: Term, value: Constant | tuple[Constant, ...]) -> Condition:
    values = value if isinstance(value, tuple) else (value,)
    texts = tuple(one for one in values if isinstance(one, str))
    return replace(term, by="in", value=texts, is_stated=isinstance(term.value, Stated)) if texts else False


def _resolve_number(term: Term, value: Constant | tuple[Constant, ...], query: Query) -> Condition:
    if isinstance(value, str | bool | tuple):
        return False
    value = min(max(value, -LARGEST), LARGEST)  # a query may say a number of hundreds of digits
    if term.field == "age_days":
        since = query.at // HOUR_MS * HOUR_MS - int(min(max(value, -END_OF_TIME_DAYS), END_OF_TIME_DAYS) * DAY_MS)
        return Term(CREATED_AT, _YOUNGER[term.by], since, is_stated=True)
    if term.field == DISTANCE:
        return replace(term, value=value, is_stated=True, origin=query.location)
    return replace(term, value=value, is_stated=isinstance(term.value, Stated))


def _said(query: Query, field: str) -> Constant | None:
    if field == "user.id":
        return query.user_id
    if field == "user.n_events":
        return query.n_events
    return (query.context or {}).get(field.removeprefix("context."))


def _holds(said: Constant | None, by: Comparison, value: Constant | tuple[Constant, ...]) -> bool:
    """Compare what a query says with a constant: numbers with numbers, texts with texts, truth values by `eq`."""
    if isinstance(value, tuple):
        return any(_holds(said, "eq", one) for one in value)
    if (
        said is None
        or isinstance(said, bool) != isinstance(value, bool)
        or isinstance(said, str) != isinstance(value, str)
    ):
        return False
    return bool(_COMPARE["eq" if by == "in" else by](said, value))


def holds(condition: Condition, table: ItemTable, rows: Int32s | slice) -> Bools:
    """Say of which items a condition holds, in the shape of `rows`; of -1, for no item, the answer means nothing.

    What constants ask is found for all items, once for each version of the table; what a query asked, for these alone.
    """
    if isinstance(condition, bool):
        return np.full(table.hashes[rows].shape, condition)
    if isinstance(condition, Term):
        if condition.is_stated:
            return _compare(condition, table, rows)
        everywhere = slice(None)  # of a table without items too, a row that is -1 stands somewhere
        known: Bools = table.derived(("rule", condition), lambda: _compare(condition, table, everywhere))
        return known[rows]
    parts = [holds(part, table, rows) for part in condition.parts]
    if condition.by == "not":
        return ~parts[0]
    return reduce(np.logical_or if condition.by == "any" else np.logical_and, parts)


def _compare(term: Term, table: ItemTable, rows: Int32s | slice) -> Bools:
    if isinstance(term.value, tuple):
        names = [str(value) for value in term.value]
        if term.field == "id":
            return np.isin(table.hashes[rows], hash_all(names))
        prefix = term.field if term.field in NAMED else term.field.removeprefix("attributes.")
        hashes = np.array([hash32(f"{prefix}={name}") for name in names], np.uint32)
        carried: Bools = np.asarray(np.isin(table.attributes[rows], hashes).any(axis=-1))
        return carried
    if term.field == DISTANCE:
        return _compare_distance(term, table, rows)
    column = getattr(table, term.field)[rows]
    found: Bools = _COMPARE[term.by](column, term.value)
    return found & (column > 0) if term.field == CREATED_AT else found


def _compare_distance(term: Term, table: ItemTable, rows: Int32s | slice) -> Bools:
    """Compare haversines, which grow as distances do; nan, for an item without a location, compares as false."""
    origin = unit_vectors(*np.array(term.origin, np.float64))
    places = table.location[rows]
    found: Doubles = np.empty(places.shape[:-1])
    haversines(origin, places.reshape(-1, 3), found.reshape(-1))
    if isinstance(term.value, OfItem):
        bound = table.derived(OfItem, lambda: haversine_of(table.reach_km.astype(np.float64)))[rows]
    else:
        bound = haversine_of(np.array(term.value, np.float64))
    compared: Bools = _COMPARE[term.by](found, bound)
    return compared


def hidden_by(rules: tuple[Resolved, ...], table: ItemTable) -> Bools | None:
    """(N,) which items the filters hide; None where there is no filter."""
    everywhere = slice(table.n)
    hidden = [holds(one.condition, table, everywhere) for one in rules if one.rule.kind == "filter"]
    return reduce(np.logical_or, hidden) if hidden else None
