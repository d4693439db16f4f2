"""An item table of plain arrays, exact to the last bit, and queries with defaults.

The real table rounds weights to bfloat16 and is tested on its own; here numbers have to be worked by hand.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.selection import Allowed, Candidates
from models.items import ItemTable
from models.items.columns import NEVER
from models.items.eligibility import Eligibility
from models.items.learned import Encoder, LearnedVectors
from models.items.links import LinkArrays
from models.items.sessions import NewSessions, SessionIndex
from models.items.vectors import HASHED, TextSpace
from models.numeric.ids import hash32, hash64
from models.numeric.sphere import unit_vectors
from models.query.batch import QueryBatch
from models.strategy import Strategy
from models.user.query import Query
from tests.states import a_state

NOW = 1_700_000_000_000
DAY_MS = 86_400_000
ALL = hash64("all")

T = TypeVar("T")


@dataclass
class AnItem:
    item_id: str
    title: str = ""
    attributes: tuple[str, ...] = ()
    category: str = ""
    price: float = float("nan")
    created_at: int = NOW - 10 * DAY_MS
    available: bool = True
    named: bool = True
    rules: dict[str, float] = field(default_factory=dict)
    covisits: dict[str, float] = field(default_factory=dict)
    """Of the same items as the rules, or of none."""
    habits: dict[str, float] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    popularity: tuple[float, float] = (1.0, 1.0)
    vector: tuple[float, ...] = ()
    margin: float = float("nan")
    expires_at: int = NEVER
    location: tuple[float, float] | None = None
    """Latitude and longitude, degrees."""
    reach_km: float = float("nan")


@dataclass
class ASession:
    """One of the recent sessions; its index in a list is its number."""

    items: list[str]
    user_id: str = "somebody"
    last_at: int = NOW - DAY_MS


@dataclass
class ArrayPostings:
    """What scoring reads of the posting lists."""

    newest: Any
    popular: Any
    n_items: Any
    numbers: dict[int, int]

    def numbers_of(self, attributes: Any) -> Any:
        return np.array([self.numbers.get(int(attribute), -1) for attribute in attributes], np.int32)


@dataclass
class ArrayTable:
    """What scoring reads of an item table."""

    ids: list[str]
    titles: list[str]
    hashes: Any
    attributes: Any
    category: Any
    price: Any
    margin: Any
    created_at: Any
    expires_at: Any
    location: Any
    reach_km: Any
    available: Any
    named: Any
    vectors: Any
    links: "ArrayLinks"
    habits: "ArrayLinks"
    popularity: Any
    postings: "ArrayPostings"
    sessions: SessionIndex
    eligibility: Eligibility
    segments: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    has_catalog: bool = False
    landmark_at: int = NOW
    half_life_short_ms: int = DAY_MS
    half_life_long_ms: int = 30 * DAY_MS
    learned_until: int = NOW
    texts: TextSpace = HASHED
    n_released: int = 0
    n_neighbours: int = 50
    learned: LearnedVectors | None = None

    def __post_init__(self) -> None:
        self.rows = {int(item_hash): row for row, item_hash in enumerate(self.hashes)}

    @property
    def n(self) -> int:
        return len(self.ids)

    def rows_of(self, hashes: Any) -> Any:
        return np.array([self.rows.get(int(item_hash), -1) for item_hash in hashes], np.int32)

    def trending(self, segment: int) -> tuple[Any, Any]:
        return self.segments.get(segment, (np.empty(0, np.int32), np.empty(0, np.float32)))

    def facts(self, item_hash: int) -> tuple[tuple[int, ...], float]:
        row = self.rows.get(item_hash)
        if row is None:
            return (), 0.0
        return tuple(int(a) for a in self.attributes[row] if a), float(np.nan_to_num(self.price[row]))

    def attribute_name(self, attribute: int) -> str:
        return self.names.get(attribute, "")

    def derived(self, _name: object, make: Callable[[], T]) -> T:
        return make()


def unit(*values: float) -> list[int]:
    """Put a vector of any length to 64 int8 cells, scaled to length 127."""
    vector = np.zeros(64)
    vector[: len(values)] = values
    length = np.linalg.norm(vector)
    return [int(cell) for cell in np.rint(vector / length * 127)] if length else [0] * 64


def a_table(
    items: list[AnItem],
    trending: dict[int, dict[str, float]] | None = None,
    shuffle: int | None = None,
    sessions: list[ASession] | None = None,
    encoder: Encoder | None = None,
) -> ItemTable:
    """Lay out items as arrays; `shuffle` gives them other row numbers."""
    laid = list(items)
    if shuffle is not None:
        random.Random(shuffle).shuffle(laid)  # noqa: S311 - no secret is made of it
    n = len(laid)
    rows = {item.item_id: row for row, item in enumerate(laid)}
    attributes = np.zeros((n, 8), np.uint32)
    names: dict[int, str] = {}
    carriers: dict[int, list[int]] = {}
    for row, item in enumerate(laid):
        for p, name in enumerate(item.attributes):
            attributes[row, p] = hash32(name)
            names[hash32(name)] = name.partition("=")[2]
            carriers.setdefault(hash32(name), []).append(row)
    newest = np.full((max(1, len(carriers)), 32), -1, np.int32)
    popular = newest.copy()
    for posting, held in enumerate(carriers.values()):
        by_age = sorted(held, key=lambda row: (-laid[row].created_at, hash64(laid[row].item_id)))[:32]
        by_visits = sorted(held, key=lambda row: (-laid[row].popularity[1], hash64(laid[row].item_id)))[:32]
        newest[posting, : len(by_age)] = by_age
        popular[posting, : len(by_visits)] = by_visits
    eligibility = Eligibility()
    for row, item in enumerate(laid):
        eligibility.put(row, item.requires, item.excludes)
    segments = {}
    for segment, weights in (trending or {}).items():
        best = sorted(weights, key=lambda item: (-weights[item], hash64(item)))
        segments[segment] = (
            np.array([rows[item] for item in best], np.int32),
            np.array([weights[item] for item in best], np.float32),
        )
    table = ArrayTable(
        ids=[item.item_id if item.named else "" for item in laid],
        titles=[item.title for item in laid],
        hashes=np.array([hash64(item.item_id) for item in laid], np.int64),
        attributes=attributes,
        category=np.array([hash32(item.category) if item.category else 0 for item in laid], np.uint32),
        price=np.array([item.price for item in laid], np.float32),
        margin=np.array([item.margin for item in laid], np.float32),
        created_at=np.array([item.created_at for item in laid], np.int64),
        expires_at=np.array([item.expires_at for item in laid], np.int64),
        location=unit_vectors(*np.array([item.location or (np.nan, np.nan) for item in laid]).reshape(-1, 2).T).astype(
            np.float32
        ),
        reach_km=np.array([item.reach_km for item in laid], np.float32),
        available=np.array([item.available for item in laid], np.bool_),
        named=np.array([item.named for item in laid], np.bool_),
        vectors=np.array([unit(*item.vector) for item in laid], np.int8).reshape(n, 64),
        links=some_links([(item.rules, item.covisits) for item in laid], rows),
        habits=some_links([(item.habits, item.habits) for item in laid], rows),
        popularity=np.array([item.popularity for item in laid], np.float32).reshape(n, 2),
        postings=ArrayPostings(
            newest,
            popular,
            np.array([len(held) for held in carriers.values()] or [0], np.int32),
            {attribute: number for number, attribute in enumerate(carriers)},
        ),
        sessions=an_index(rows, sessions or []),
        eligibility=eligibility,
        segments=segments,
        names=names,
        learned=LearnedVectors(encoder) if encoder else None,
    )
    return cast("ItemTable", table)


@dataclass
class ArrayLinks:
    """Links of one kind, one item's behind the other's."""

    arrays: LinkArrays


def some_links(weights: list[tuple[dict[str, float], dict[str, float]]], rows: dict[str, int]) -> ArrayLinks:
    """Lay out rules and co-visits of each item; its others are those of its rules, else of its co-visits."""
    others = [list(rules or covisits) for rules, covisits in weights]
    sizes = np.array([len(names) for names in others], np.int32)
    named = [(*both, name) for both, names in zip(weights, others, strict=True) for name in names]
    held = LinkArrays(
        np.array([rows[name] for *_, name in named], np.int32),
        np.array([rules.get(name, 0) for rules, _, name in named], np.float32),
        np.array([covisits.get(name, 0) for _, covisits, name in named], np.float32),
        np.array([len(named)]),
        np.cumsum(sizes, dtype=np.int64) - sizes,
        sizes,
        sizes,
        np.array([sum(rules.values()) for rules, _ in weights], np.float64),
    )
    return ArrayLinks(held)


class AnEncoder:
    """Gives items vectors by their ids' hashes, and users the sum of what they did, the newest thrice."""

    version = "made-up"
    n_dimensions = 4
    n_recent = 5

    def item_vectors(self, rows: Any, table: Any) -> Any:
        return np.array([self.vector_of(int(item)) for item in table.hashes[rows]], np.float32).reshape(-1, 4)

    def vector_of(self, item: int) -> list[float]:
        """One item in four is unknown."""
        return [0.0] * 4 if item % 4 == 0 else [(item >> 8 * d) % 7 - 3.0 for d in range(1, 5)]

    def logits(self, users: Any, vectors: Any) -> Any:
        return users @ vectors.T

    def user_vectors(self, acts: Any, at: Any, lengths: Any) -> Any:
        assert (np.diff(at, axis=1) >= 0)[np.arange(1, at.shape[1]) < lengths[:, None]].all()
        newest = acts[np.arange(len(lengths)), lengths - 1]
        return (acts * (np.arange(acts.shape[1])[:, None] < lengths[:, None, None])).sum(axis=1) + 2 * newest


def an_index(rows: dict[str, int], sessions: list[ASession]) -> SessionIndex:
    """Index sessions of items that have rows."""
    n = len(rows)
    columns = SimpleNamespace(
        n_sessions=np.zeros(n, np.int32), run_start=np.zeros(n, np.int64), run_room=np.zeros(n, np.int32)
    )
    index = SessionIndex(cast("Any", columns), 4)
    put_sessions(index, rows, dict(enumerate(sessions)))
    return index


def put_sessions(index: SessionIndex, rows: dict[str, int], sessions: dict[int, ASession], version: int = 1) -> int:
    """Put sessions by number, all with one version."""
    starts = np.cumsum([0, *(len(session.items) for session in sessions.values())])
    new = NewSessions(
        np.array(list(sessions), np.int64),
        np.full(len(sessions), version, np.int64),
        np.array([hash64(session.user_id) for session in sessions.values()], np.int64),
        np.array([session.last_at for session in sessions.values()], np.int64),
        starts.astype(np.int64),
    )
    return index.put(new, np.array([rows[item] for session in sessions.values() for item in session.items], np.int32))


def a_query(
    recent: list[str] | None = None,
    *,
    user_id: str = "u",
    current: str = "",
    strategy: Strategy | None = None,
    interests: dict[str, tuple[float, float]] | None = None,
    preferences: dict[str, float] | None = None,
    impressions: dict[str, float] | None = None,
    owned: tuple[str, ...] = (),
    segments: tuple[int, ...] = (ALL,),
    weights: list[float] | None = None,
    **others: Any,
) -> Query:
    """Build a query of readable ids; the strategy ranks by the blend unless another is given."""
    recent = recent or []
    recent_at = others.pop("recent_at", [NOW - 60_000 * back for back in range(len(recent))])
    n_in_session = others.pop("n_in_session", len(recent))
    defaults: dict[str, Any] = {"trigger": "event", "trigger_id": f"e-{user_id}", "at": NOW}
    state = a_state(
        others.get("at", NOW),
        list(zip(map(hash64, recent), recent_at, weights or [1.0] * len(recent), strict=True)),
        {hash32(name): pair for name, pair in (interests or {}).items()},
        {hash32(name): weight for name, weight in (preferences or {}).items()},
        others.pop("drift", 0.0),
        others.pop("mean_price", 0.0),
    )
    return Query(
        user_id=user_id,
        strategy=strategy or a_strategy(),
        current_item=hash64(current) if current else 0,
        state=state,
        session_started_at=recent_at[n_in_session - 1] if n_in_session else None,
        impressions={hash64(item): count for item, count in (impressions or {}).items()},
        owned=frozenset(hash64(item) for item in owned),
        segments=segments,
        **(defaults | others),
    )


def a_strategy(**others: Any) -> Strategy:
    """Build a strategy without chance or diversity unless asked for."""
    return Strategy(**({"ranker": "blend", "exploration_slots": 0, "diversity": 0.0} | others))


def a_batch(table: ItemTable, *queries: Query) -> QueryBatch:
    return QueryBatch.from_queries(list(queries), table)


def no_candidates(n_queries: int, n: int) -> Candidates:
    """Make room for n candidates a query."""
    return Candidates(np.full((n_queries, n), -1, np.int32), np.zeros((n_queries, n), np.float32))


def candidates_of(source: CandidateSource, table: ItemTable, batch: QueryBatch, n: int) -> Candidates:
    found = no_candidates(batch.n, n)
    source.generate(batch, table, Allowed.of(batch, table), found)
    return found


def causes_of(source: CandidateSource, table: ItemTable, batch: QueryBatch, rows: Any) -> Any:
    causes = np.full(rows.shape, -1, np.int64)
    source.explain(batch, table, rows, causes)
    return causes


def a_random_world(seed: int, n_items: int = 60) -> tuple[list[AnItem], dict[int, dict[str, float]]]:
    """Make up a small table with few distinct weights, so that ties are common."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    ids = [f"i-{i}" for i in range(n_items)]
    items = []
    for item_id in ids:
        others = rng.sample([other for other in ids if other != item_id], rng.randint(0, 12))
        items.append(
            AnItem(
                item_id,
                title=f"Title {item_id}",
                attributes=tuple(f"category=c{c}" for c in rng.sample(range(6), rng.randint(0, 3))),
                category=rng.choice(["", "a", "b", "c"]),
                price=rng.choice([float("nan"), 1.0, 8.0, 100.0]),
                created_at=NOW - rng.randint(0, 400) * DAY_MS,
                available=rng.random() > 0.1,
                named=rng.random() > 0.05,
                rules={other: rng.choice([0.5, 1.0, 2.0]) for other in others},
                covisits={other: rng.choice([0.5, 1.0, 4.0]) for other in others},
                popularity=rng.choice([(0.0, 0.0), (1.0, 5.0), (3.0, 40.0)]),
                vector=tuple(rng.uniform(-1, 1) for _ in range(5)),
            )
        )
    trending = {
        ALL: {item: rng.choice([1.0, 2.0, 3.0]) for item in rng.sample(ids, 40)},
        hash64("device=mobile"): {item: rng.choice([1.0, 2.0]) for item in rng.sample(ids, 10)},
    }
    for item in items:
        others = rng.sample([other for other in ids if other != item.item_id], rng.randint(0, 12))
        item.habits = {other: rng.choice([0.5, 1.0, 2.0]) for other in others}
    return items, trending


def some_random_sessions(seed: int, n: int = 40, n_items: int = 60) -> list[ASession]:
    """Make up sessions, some of equal times, some of people who ask as well."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    return [
        ASession(
            [f"i-{rng.randrange(n_items)}" for _ in range(rng.randint(1, 11))],
            f"u-{rng.randrange(200)}",
            NOW - rng.choice([0, 1, 3, 50, 3_000]) * DAY_MS,
        )
        for _ in range(n)
    ]


def a_random_query(seed: int, n_known: int = 60, **others: Any) -> Query:
    """Make up a query, some of its items unknown to the table."""
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    ids = [f"i-{i}" for i in range(n_known)] + ["unknown-1", "unknown-2"]
    recent = [rng.choice(ids) for _ in range(rng.choice([0, 1, 5, 20]))]
    given: dict[str, Any] = {
        "user_id": f"u-{seed}",
        "current": rng.choice(["", rng.choice(ids), *recent[:1]]),
        "interests": {f"category=c{c}": (rng.uniform(-1, 2), rng.uniform(-1, 9)) for c in rng.sample(range(7), 4)}
        if rng.random() < 0.7
        else {},
        "preferences": {f"category=c{c}": rng.uniform(-2, 2) for c in rng.sample(range(7), 3)},
        "impressions": {item: rng.uniform(0, 8) for item in rng.sample(ids, 10)},
        "owned": tuple(rng.sample(ids, 4)),
        "segments": rng.choice([(), (ALL,), (hash64("device=mobile"), ALL)]),
        "weights": [rng.choice([-1.0, 1.0, 3.0]) for _ in recent],
        "n_in_session": rng.randint(0, len(recent)),
        "n_events": rng.randint(0, 1000),
        "drift": rng.random(),
        "mean_price": rng.choice([0.0, 5.0]),
        "context": rng.choice([None, {"device": "mobile", "hour": 20}, {"hour": "late"}]),
    }
    return a_query(recent, **(given | others))


def rows_by_id(table: ItemTable, rows: Any) -> list[str]:
    """Name rows, leaving out the empty ones; unnamed rows too keep their hash as a name."""
    return [table.ids[row] for row in np.ravel(rows) if row >= 0]


def same_message(one: Any, other: Any) -> bool:
    """Compare two messages, their arrays bit by bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_message, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(same_message(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)
