"""Business rules of a strategy: what is hidden, moved up or down, placed or bounded, by conditions on item and query.

A condition is written as plain values, one field and one comparison a term:

    {"all": [{"category": {"in": ["shoes", "boots"]}}, {"price": {"lt": 20}}, {"not": {"tag": {"eq": "sale"}}}]}

| field | of | compared by |
|---|---|---|
| `id`, `category`, `tag`, `attributes.NAME` | the item: any of its categories and tags, its own texts | `eq`, `in` |
| `price`, `margin`, `age_days` | the item | `lt`, `le`, `gt`, `ge`, and prices `eq` |
| `distance_km` | the item, from the query | `lt`, `le`, `gt`, `ge` |
| `context.NAME`, `user.id`, `user.n_events` | the query | all |

Of an item's categories, tags and texts those count that a profile learns as well: eight at most, categories first,
texts of up to 64 characters (`models.items.catalog.attributes_of`). An age goes by the full hour before the query.

A value is a constant, for `in` a list, or what the query says: `{"context": "district"}`. What is not known compares as
false, so `not` of it is true.

A distance is that of the item's `location` from the one in the query's context (`latitude` and `longitude`, degrees,
rounded to a thousandth), along a sphere. It is compared with a number, with what the query says, or with how far the
item itself reaches, `{"distance_km": {"gt": {"item": "reach_km"}}}`. Of a query that does not say where it is, a rule
that asks for a distance does nothing at all, also where it says `not`; an item without a location compares as false.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

import msgspec
from msgspec import Meta

from models.names import LOCATION_FIELDS

Kind: TypeAlias = Literal["filter", "boost", "bury", "pin", "quota"]
Comparison: TypeAlias = Literal["eq", "in", "lt", "le", "gt", "ge"]
Constant: TypeAlias = str | int | float | bool
COMPARISONS: tuple[Comparison, ...] = get_args(Comparison)
NAMED = ("id", "category", "tag")
"""Item fields that are texts; `attributes.NAME` are as well."""
DISTANCE = "distance_km"
MEASURED = ("price", "margin", "age_days", DISTANCE)
"""Item fields that are numbers."""
REACH = "reach_km"
"""What an item says itself that a distance is compared with."""
OF_USER = ("user.id", "user.n_events")
FIELDS = frozenset((*NAMED, *MEASURED, *OF_USER))
MAX_DEPTH = 8
"""Conditions within conditions."""


class RuleError(ValueError):
    """A rule is declared wrongly.

    Parameters
    ----------
    text : what is wrong and how to fix it.
    path : steps from the rule to the part that is wrong.
    """

    def __init__(self, text: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True, slots=True)
class Stated:
    """What the query's context says under a name, in place of a constant."""

    name: str


@dataclass(frozen=True, slots=True)
class OfItem:
    """What the item says of itself under a name, in place of a constant."""

    name: str


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison."""

    field: str
    by: Comparison
    value: Constant | Stated | OfItem | tuple[Constant, ...]
    is_stated: bool = False
    """Whether the value came of a query, and is no constant."""
    origin: tuple[float, float] | None = None
    """Of a distance: from where, in degrees, once a query has said it."""

    @property
    def is_of_item(self) -> bool:
        """Whether it looks at the item, and not at the query."""
        return not self.field.startswith(("context.", "user."))


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions together: `all` of them hold, or `any`, or, of one, `not`."""

    by: Literal["all", "any", "not"]
    parts: "tuple[Condition, ...]"


Condition: TypeAlias = Term | Group | bool


def asks_distance(condition: Condition) -> bool:
    """Say whether a condition looks at how far an item is away."""
    if isinstance(condition, Group):
        return any(asks_distance(part) for part in condition.parts)
    return isinstance(condition, Term) and condition.field == DISTANCE


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. It is named on the items of slates that it placed or moved.

    Raises
    ------
    RuleError : the condition cannot be read, or something that the kind needs is missing.
    """

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: Kind
    """`filter` hides items, `boost` and `bury` move candidates up and down, `pin` places one item, and `quota` bounds
    how many stand on a slate."""
    where: dict[str, Any] = field(default_factory=dict)
    """Which items, and for which queries; empty: all."""
    by: Annotated[float, Meta(gt=0, le=100)] = 1.0
    """Of `boost` and `bury`: how far, in standard deviations of the scores of the query's candidates."""
    half_km: Annotated[float, Meta(gt=0)] | None = None
    """Of `boost`: nearness. It moves an item that is so many km away half as far as one that is here, and halves again
    with every so many, in steps of an eighth; beyond four of them, or without a location, it does not act."""
    item: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Of `pin`: which item."""
    position: Annotated[int, Meta(ge=0, le=99)] = 0
    """Of `pin`: where, 0 is the top."""
    most: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Of `quota`: how many such items a slate may hold."""

    def __post_init__(self) -> None:
        parse(self.where, ("where",))
        if (self.kind == "pin") != (self.item is not None):
            raise RuleError("`item` says what a pin places: give it with `kind: pin`, and with no other", ("item",))
        if (self.kind == "quota") != (self.most is not None):
            raise RuleError("`most` bounds a quota: give it with `kind: quota`, and with no other", ("most",))
        if self.half_km is not None and self.kind != "boost":
            raise RuleError("`half_km` lets a boost fade with the distance: give it with `kind: boost`", ("half_km",))

    @property
    def condition(self) -> Condition:
        """What `where` says."""
        return _parsed(msgspec.json.encode(self.where))

    @property
    def asks_distance(self) -> bool:
        """Whether it acts only where it is known where the query is."""
        return self.half_km is not None or asks_distance(self.condition)


@lru_cache(maxsize=4_096)
def _parsed(where: bytes) -> Condition:
    return parse(msgspec.json.decode(where))


def parse(where: object, path: tuple[str | int, ...] = ()) -> Condition:
    """Read a condition from plain values.

    Raises
    ------
    RuleError : with the path of the part at fault.
    """
    if len(path) > 2 * MAX_DEPTH:
        raise RuleError(f"conditions stand in conditions more than {MAX_DEPTH} deep: make it simpler", path)
    if where == {}:
        return True
    if not isinstance(where, dict) or len(where) != 1:
        raise RuleError(
            "a condition is one field, or one of `all`, `any` and `not`: put several into `all: [...]`", path
        )
    ((name, held),) = where.items()
    path = (*path, name)
    if name == "not":
        return Group("not", (parse(held, path),))
    if name in ("all", "any"):
        if not isinstance(held, list):
            raise RuleError("give it a list of conditions", path)
        return Group(name, tuple(parse(part, (*path, n)) for n, part in enumerate(held)))
    return _term(name, held, path)


def _term(name: object, held: object, path: tuple[str | int, ...]) -> Term:
    if name not in FIELDS and not str(name).startswith(("attributes.", "context.")):
        known = ", ".join((*NAMED, "attributes.NAME", *MEASURED, "context.NAME", *OF_USER))
        raise RuleError(f"no such field: known are {known}", path)
    if name in [f"context.{one}" for one in LOCATION_FIELDS]:
        raise RuleError(f"where a query is, is asked by its distance alone: compare `{DISTANCE}`", path)
    if not isinstance(held, dict) or len(held) != 1 or next(iter(held)) not in COMPARISONS:
        raise RuleError(f"give it one comparison of {', '.join(COMPARISONS)}, as in `price: {{lt: 20}}`", path)
    ((by, value),) = held.items()
    term = Term(str(name), cast("Comparison", by), _value(name, value, by, (*path, by)))
    if term.field == DISTANCE:
        _check_distance(term, path)
    elif term.field in MEASURED:
        _check_number(term, path)
    elif term.is_of_item:
        _check_text(term, path)
    return term


def _check_number(term: Term, path: tuple[str | int, ...]) -> None:
    if term.by == "in" or (term.by == "eq" and term.field == "age_days") or isinstance(term.value, str | bool):
        raise RuleError("a number is compared with a number, by `lt`, `le`, `gt` or `ge`, and prices by `eq`", path)


def _check_distance(term: Term, path: tuple[str | int, ...]) -> None:
    is_number = isinstance(term.value, int | float) and not isinstance(term.value, bool) and term.value >= 0
    if term.by in ("eq", "in") or not (is_number or isinstance(term.value, Stated | OfItem)):
        raise RuleError(
            f"a distance is compared by `lt`, `le`, `gt` or `ge`, with km from 0 on or with `{{item: {REACH}}}`", path
        )


def _check_text(term: Term, path: tuple[str | int, ...]) -> None:
    if term.by not in ("eq", "in"):
        raise RuleError("a text is compared by `eq` or `in`", path)
    constants = term.value if isinstance(term.value, tuple) else (term.value,)
    if not all(isinstance(one, str | Stated) for one in constants):
        raise RuleError("this field is a text: put what it is compared with in quotes", path)


def _value(
    name: object, value: object, by: str, path: tuple[str | int, ...]
) -> Constant | Stated | OfItem | tuple[Constant, ...]:
    if isinstance(value, dict) and list(value) == ["context"] and isinstance(value["context"], str):
        if value["context"] in LOCATION_FIELDS:
            raise RuleError(f"where a query is, is asked by its distance alone: compare `{DISTANCE}`", path)
        return Stated(value["context"])
    if name == DISTANCE and value == {"item": REACH}:
        return OfItem(REACH)
    if by == "in" and isinstance(value, list) and all(isinstance(one, Constant) for one in value):
        return tuple(value)
    if by != "in" and isinstance(value, Constant):
        return value
    wanted = "a list of texts or numbers" if by == "in" else "a text, a number, or true or false"
    raise RuleError(f"compare with {wanted}, or with what the query says: `{{context: NAME}}`", path)
