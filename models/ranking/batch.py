"""A batch of queries as arrays: what the candidate sources, the features and the rules read."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Bytes, Doubles, Floats, Hash32s, Int32s, Int64s
from models.ids import hash_all
from models.items import ItemTable
from models.items.columns import N_ATTRIBUTES
from models.messages import Context, Value
from models.profile_state import N_INTERESTS, N_RECENT, STATE, States
from models.query import Query
from models.ranking.eligible import Ineligible
from models.ranking.states import read_facts, read_history, read_tastes
from models.segments import hour_of
from models.strategy import SourceName, Strategy

HISTORY = N_RECENT
"""Recent items that a query holds at most."""
SOURCES: tuple[SourceName, ...] = (
    "sequential_rules",
    "covisitation",
    "trending",
    "content",
    "session_knn",
    "two_step_rules",
    "revisits",
)
"""The order of the candidate sources in every array with one column a source."""
SIGNALS = (
    "session_length",
    "n_events",
    "drift",
    "n_last_5_min",
    "idle",
    "pause",
    "hour_sin",
    "hour_cos",
    "is_mobile",
    "is_request",
    "is_search",
)
"""What is true of the user and the moment, the same for each of the candidates."""

_MOBILE = frozenset({"mobile", "phone", "smartphone", "ios", "android", "app"})
_MINUTE_MS = 60_000
_NEVER = int(np.iinfo(np.int64).max)

Number = TypeVar("Number", int, float)
Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Ragged:
    """A list a query, laid end to end: those of query b are [starts[b], starts[b + 1])."""

    starts: Int64s
    """(B + 1,)"""
    rows: Int32s
    """(M,) item rows, all known."""
    weights: Floats
    """(M,)"""

    @classmethod
    def of(cls, n: int, owners: Int64s, rows: Int32s, weights: Floats) -> "Ragged":
        """Group (M,) rows by their owner in [0, n), leaving out the unknown ones (-1)."""
        known = np.flatnonzero(rows >= 0)
        known = known[np.argsort(owners[known], kind="stable")]
        return cls(_starts(np.bincount(owners[known], minlength=n)), rows[known], weights[known])


@dataclass(frozen=True, slots=True)
class Tastes:
    """Weights of attributes, a list a query, laid end to end."""

    starts: Int64s
    """(B + 1,)"""
    attributes: Hash32s
    """(M,)"""
    weights: Floats
    """(M, W)"""


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """B queries of one strategy, all of them with candidates of their own or none of them."""

    queries: list[Query]
    strategy: Strategy
    own: bool
    """Whether the queries bring their candidates: then the marked items are the only ones allowed."""
    at: Int64s
    """(B,) Unix milliseconds."""
    users: Int64s
    """(B,) hashes."""
    visit: Doubles
    """(B,) what one visit at the query's moment weighs, in landmark units of the long half-life."""
    current: Int32s
    """(B,) row of the item that the user is looking at, -1 none."""
    history: Int32s
    """(B, 32) rows, newest first and the current item before all, -1 unknown or none."""
    history_weights: Floats
    """(B, 32) 0 where there is no item."""
    n_session: Int32s
    """(B,) how many of the history belong to the running session."""
    marks: Ragged
    """Rows that the rules forbid; with own candidates, the rows that are allowed."""
    locked: Int32s
    """(L,) rows that nobody of the batch may be shown (see `usable`), kept out of the marks, which are many already."""
    impressions: Ragged
    """Rows shown without a reaction, and their decayed number."""
    interests: Tastes
    """W = 2: the moment, the habit."""
    preferences: Tastes
    """W = 1: what the user's own learner says."""
    mean_price: Floats
    """(B,) 0 unknown."""
    signals: Floats
    """(B, 11) in the order of SIGNALS, bounded."""

    @property
    def n(self) -> int:
        """How many queries there are."""
        return len(self.queries)

    @property
    def wanted(self) -> int:
        """State of an item that a query may get (see `models.candidates.selection`): its own are marked."""
        return 3 if self.own else 1

    @classmethod
    def from_queries(cls, queries: list[Query], table: ItemTable) -> "QueryBatch":
        """Turn queries of the same strategy into arrays; their items are looked up in one go."""
        strategy = queries[0].strategy
        own = queries[0].candidates is not None
        n = len(queries)
        numbers = np.arange(n)
        at = np.array([query.at for query in queries], np.int64)
        states: States = np.frombuffer(b"".join([query.state for query in queries]), STATE)
        current_items = np.array([query.current_item for query in queries], np.int64)
        lists = [
            states["recent_items"].ravel(),
            _flat((query.impressions for query in queries), np.int64),
            _flat((query.owned for query in queries), np.int64),
            hash_all([item for query in queries for item in query.candidates or ()]),
        ]
        shown_owner, owned_owner, own_owner = (
            numbers.repeat(sizes)
            for sizes in (
                [len(query.impressions) for query in queries],
                [len(query.owned) for query in queries],
                [len(query.candidates or ()) for query in queries],
            )
        )
        rows = table.rows_of(np.concatenate([current_items, *lists]))
        current, recent, shown, owned, candidates = _cut(rows, [n, *map(len, lists)])
        shown_count = _flat((query.impressions.values() for query in queries), np.float32)
        history, weights = np.full((n, HISTORY), -1, np.int32), np.zeros((n, HISTORY), np.float32)
        n_session = np.zeros(n, np.int32)
        ineligible = Ineligible.of(queries, states, table)
        recent = recent.reshape(n, N_RECENT)
        read_history(states, _started_at(queries), current_items, current, recent, history, weights, n_session)

        if own:
            allowed = (candidates != current[own_owner]) & ineligible.allows(own_owner, candidates)
            mark_owners, mark_rows = own_owner[allowed], candidates[allowed]
        else:
            tired = shown_count >= strategy.max_impressions - 0.5  # they decay at once: never quite so many
            parts = [(shown_owner[tired], shown[tired]), (ineligible.owners, ineligible.rows)]
            if not (strategy.allow_seen and strategy.allow_current):
                parts.append((numbers, current))
            if not strategy.allow_seen:
                place = np.arange(N_RECENT) < states["n_recent"][:, None]  # (B, 32)
                parts.append((np.nonzero(place)[0], recent[place]))
            if not strategy.allow_owned:
                parts.append((owned_owner, owned))
            mark_owners = np.concatenate([owner for owner, _ in parts])
            mark_rows = np.concatenate([part for _, part in parts])
        interests, preferences = _tastes(states, at, current, table)
        mean_price, signals = _facts(queries, at, states, n_session)
        return cls(
            queries=queries,
            strategy=strategy,
            own=own,
            at=at,
            visit=landmark_scale(at, table.landmark_at, table.half_life_long_ms),
            users=hash_all([query.user_id for query in queries]),
            current=current,
            history=history,
            history_weights=weights,
            n_session=n_session,
            marks=Ragged.of(n, mark_owners, mark_rows, np.ones(len(mark_rows), np.float32)),
            locked=ineligible.locked,
            impressions=Ragged.of(n, shown_owner, shown, shown_count),
            interests=interests,
            preferences=preferences,
            mean_price=mean_price,
            signals=signals,
        )


def usable(table: ItemTable, locked: Int32s | None = None) -> Bytes:
    """Say which items may be shown to anybody, as (N,) states: 1 or 0.

    Those are available, known by their id and not locked (L,); once there is a catalog, only those in it: what it no
    longer holds was removed, though rows about it may still stand.
    """
    shown = np.logical_and(table.available[: table.n], table.named[: table.n])
    if table.has_catalog:
        shown &= table.in_catalog[: table.n]
    if locked is not None:
        shown[locked] = False
    states: Bytes = shown.view(np.uint8)
    return states


def landmark_scale(at: Int64s, landmark_at: int, half_life_ms: NDArray[np.integer] | int) -> Doubles:
    """Express a weight of 1 at the moment `at` in landmark units: 2^((at - landmark) / half-life).

    Kept within 2^-60 .. 2^60, so that a clock far off gives no infinities.
    """
    scale: Doubles = np.exp2(np.minimum(np.maximum((at - landmark_at) / half_life_ms, -60), 60))
    return scale


def _started_at(queries: list[Query]) -> Int64s:
    """(B,) when each running session began; the end of time where there is none."""
    return np.array(
        [_NEVER if query.session_started_at is None else query.session_started_at for query in queries], np.int64
    )


def _tastes(states: States, at: Int64s, current: Int32s, table: ItemTable) -> tuple[Tastes, Tastes]:
    """Lay out interests and preferences."""
    n = len(states)
    looked_at = np.zeros((n, N_ATTRIBUTES), np.uint32)
    known = current >= 0
    looked_at[known] = table.attributes[current[known]]
    starts, preference_starts = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    attributes, preferred = np.empty((2, n * N_INTERESTS), np.uint32)
    weights, preferences = np.empty((n * N_INTERESTS, 2), np.float32), np.empty((n * N_INTERESTS, 1), np.float32)
    read_tastes(states, at, looked_at, starts, attributes, weights, preference_starts, preferred, preferences)
    m, k = starts[n], preference_starts[n]
    return Tastes(starts, attributes[:m], weights[:m]), Tastes(preference_starts, preferred[:k], preferences[:k])


def _facts(queries: list[Query], at: Int64s, states: States, n_session: Int32s) -> tuple[Floats, Floats]:
    """(B,) mean prices, and (B, 11) signals, counts and minutes as log(1 + x) / 10."""
    n = len(queries)
    mean_price = np.zeros(n, np.float32)
    drift, idle_ms, pause_ms = np.zeros((3, n))
    read_facts(states, at, mean_price, drift, idle_ms, pause_ms)
    told = np.empty((n, len(SIGNALS)), np.float32)
    for b, query in enumerate(queries):
        angle = hour_of(query.context, query.at) * (2 * math.pi / 24)
        told[b] = (
            math.log1p(n_session[b]) / 10,
            math.log1p(query.n_events) / 10,
            drift[b],
            math.log1p(query.n_last_5_min) / 10,
            math.log1p(idle_ms[b] / _MINUTE_MS) / 10,
            math.log1p(pause_ms[b] / _MINUTE_MS) / 10,
            math.sin(angle),
            math.cos(angle),
            _is_mobile(query.context),
            query.trigger == "request",
            bool(query.query),
        )
    return mean_price, told


def _cut(rows: Int32s, sizes: list[int]) -> list[Int32s]:
    """Part rows that lie end to end."""
    parts, start = [], 0
    for size in sizes:
        parts.append(rows[start : start + size])
        start += size
    return parts


def _is_mobile(context: Context | None) -> bool:
    device: Value = context.get("device") if context else None
    return isinstance(device, str) and device.lower() in _MOBILE


def _starts(sizes: NDArray[np.integer]) -> Int64s:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _flat(lists: Iterable[Iterable[Number]], kind: type[Scalar]) -> NDArray[Scalar]:
    """Lay lists of numbers end to end."""
    return np.fromiter(chain.from_iterable(lists), kind)
