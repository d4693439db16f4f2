"""A batch of queries as arrays: what the candidate sources, the features and the rules read."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from models.arrays import Bools, Bytes, Doubles, Floats, Hash32s, Int32s, Int64s
from models.ids import hash_all
from models.items import ItemTable
from models.messages import Context, Value
from models.profile_state import N_INTERESTS, N_RECENT, STATE, States
from models.query import Query
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
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000

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
        n_recent = states["n_recent"]
        remembered = np.arange(N_RECENT) < n_recent[:, None]  # (B, 32)
        recent_owner, place = np.nonzero(remembered)
        current_items = np.array([query.current_item for query in queries], np.int64)
        lists = [
            states["recent_items"][remembered],
            _flat((query.impressions for query in queries), np.int64),
            _flat((query.owned for query in queries), np.int64),
            hash_all([item for query in queries for item in query.candidates or ()]),
        ]
        shown_owner, owned_owner, own_owner = (
            np.repeat(numbers, np.array(sizes))
            for sizes in (
                [len(query.impressions) for query in queries],
                [len(query.owned) for query in queries],
                [len(query.candidates or ()) for query in queries],
            )
        )
        rows = table.rows_of(np.concatenate([current_items, *lists]))
        edges = np.cumsum([n, *(len(items) for items in lists[:-1])])
        current, recent, shown, owned, candidates = np.split(rows, edges)
        shown_count = _flat((query.impressions.values() for query in queries), np.float32)

        leads = (current_items != 0) & ((n_recent == 0) | (states["recent_items"][:, 0] != current_items))
        column = place + leads[recent_owner]
        fits = np.flatnonzero(column < HISTORY)
        history = np.full((n, HISTORY), -1, np.int32)
        weights = np.zeros((n, HISTORY), np.float32)
        history[recent_owner[fits], column[fits]] = recent[fits]
        weights[recent_owner[fits], column[fits]] = states["recent_weights"][remembered][fits]
        history[leads, 0] = current[leads]
        weights[leads, 0] = 1.0
        n_session = _n_in_session(queries, states, remembered)

        if own:
            allowed = candidates != current[own_owner]
            mark_owners, mark_rows = own_owner[allowed], candidates[allowed]
        else:
            tired = shown_count >= strategy.max_impressions
            parts = [(shown_owner[tired], shown[tired])]
            if not (strategy.allow_seen and strategy.allow_current):
                parts.append((numbers, current))
            if not strategy.allow_seen:
                parts.append((recent_owner, recent))
            if not strategy.allow_owned:
                parts.append((owned_owner, owned))
            mark_owners = np.concatenate([owner for owner, _ in parts])
            mark_rows = np.concatenate([part for _, part in parts])
        return cls(
            queries=queries,
            strategy=strategy,
            own=own,
            at=at,
            users=hash_all([query.user_id for query in queries]),
            current=current,
            history=history,
            history_weights=weights,
            n_session=n_session + leads.astype(np.int32),
            marks=Ragged.of(n, mark_owners, mark_rows, np.ones(len(mark_rows), np.float32)),
            impressions=Ragged.of(n, shown_owner, shown, shown_count),
            interests=_interests(states, at, current, table),
            preferences=_preferences(states),
            mean_price=_mean_price(states),
            signals=_signals(queries, at, states, n_session),
        )


def usable(table: ItemTable) -> Bytes:
    """Say which items may be shown to anybody, as (N,) states: 1 or 0.

    Those are the available ones whose id is known; once there is a catalog, only those that are in it: what it no
    longer holds was removed, though rows about it may still stand.
    """
    shown = np.logical_and(table.available[: table.n], table.named[: table.n])
    if table.has_catalog:
        shown &= table.in_catalog[: table.n]
    states: Bytes = shown.view(np.uint8)
    return states


def landmark_scale(at: Int64s, landmark_at: int, half_life_ms: NDArray[np.integer] | int) -> Doubles:
    """Express a weight of 1 at the moment `at` in landmark units: 2^((at - landmark) / half-life).

    Kept within 2^-60 .. 2^60, so that a clock far off gives no infinities.
    """
    scale: Doubles = np.exp2(np.clip((at - landmark_at) / half_life_ms, -60, 60))
    return scale


def moment(context: Context | None, at: int) -> tuple[float, bool]:
    """Read the hour of the day (the context's own, else UTC's) and whether the device is a mobile one."""
    hour: Value = None
    device: Value = None
    if context:
        hour = context.get("hour")
        device = context.get("device")
    if not isinstance(hour, int | float) or not 0 <= hour < 24:
        hour = at / _HOUR_MS % 24
    return float(hour), isinstance(device, str) and device.lower() in _MOBILE


def _n_in_session(queries: list[Query], states: States, remembered: Bools) -> Int32s:
    """Count the recent items that belong to the running session."""
    never = np.iinfo(np.int64).max
    started = np.array(
        [never if query.session_started_at is None else query.session_started_at for query in queries], np.int64
    )
    counted: Int32s = ((states["recent_at"] >= started[:, None]) & remembered).sum(1, dtype=np.int32)
    return counted


def _interests(states: States, at: Int64s, current: Int32s, table: ItemTable) -> Tastes:
    """Lay out the interests, decayed to `at`; who has none yet is taken to like what they look at."""
    moment, habit = states["moment"], states["habit"]
    held = (np.arange(N_INTERESTS) < states["n_interests"][:, None]) & ((moment != 0) | (habit != 0))
    # Nothing decays backwards: for a trigger from the past, interests read as of the newest action.
    read_at = np.maximum(at, np.where(states["n_recent"] > 0, states["recent_at"][:, 0], at))
    weights = np.stack(
        [
            (moment * np.exp2((states["moment_at"] - read_at) / states["half_life_moment_ms"])[:, None])[held],
            (habit * np.exp2((states["habit_at"] - read_at) / states["half_life_habit_ms"])[:, None])[held],
        ],
        axis=1,
    ).astype(np.float32)
    owners = np.nonzero(held)[0]
    attributes = states["attributes"][held]
    nobody = np.flatnonzero(~held.any(1) & (current >= 0))
    if len(nobody):
        looked_at = table.attributes[current[nobody]]  # (M, 8)
        carried = looked_at != 0
        owners = np.concatenate([owners, np.repeat(nobody, carried.sum(1))])
        attributes = np.concatenate([attributes, looked_at[carried]])
        weights = np.concatenate([weights, np.ones((carried.sum(), 2), np.float32)])
        order = np.argsort(owners, kind="stable")
        owners, attributes, weights = owners[order], attributes[order], weights[order]
    return Tastes(_starts(np.bincount(owners, minlength=len(states))), attributes, weights)


def _preferences(states: States) -> Tastes:
    held = (np.arange(N_INTERESTS) < states["n_interests"][:, None]) & (states["preferences"] != 0)
    weights = states["preferences"][held].reshape(-1, 1)
    return Tastes(_starts(held.sum(1)), states["attributes"][held], weights)


def _mean_price(states: States) -> Floats:
    """(B,) decayed mean price of what each user acted on; 0 unknown."""
    weight = states["price_weight"]
    mean = np.divide(states["price_sum"], weight, out=np.zeros(len(states)), where=weight > 0)
    bounded: Floats = np.minimum(mean, np.finfo(np.float32).max).astype(np.float32)
    return bounded


def _signals(queries: list[Query], at: Int64s, states: States, n_session: Int32s) -> Floats:
    """(B, 11), counts and minutes as log(1 + x) / 10."""
    told = np.zeros((len(queries), len(SIGNALS)))
    moments = [moment(query.context, query.at) for query in queries]
    angle = np.array([hour for hour, _ in moments]) * (2 * math.pi / 24)
    idle_ms = np.where(states["n_recent"] > 0, at - states["recent_at"][:, 0], 0)
    told[:, 0] = n_session
    told[:, 1] = [query.n_events for query in queries]
    told[:, 2] = np.clip(states["drift"], 0, 1)
    told[:, 3] = [query.n_last_5_min for query in queries]
    told[:, 4] = idle_ms / _MINUTE_MS
    pause_ms = np.where(states["n_recent"] > 1, states["recent_at"][:, 0] - states["recent_at"][:, 1], 0)
    told[:, 5] = pause_ms / _MINUTE_MS
    counts = [0, 1, 3, 4, 5]
    told[:, counts] = np.log1p(np.maximum(told[:, counts], 0)) / 10
    told[:, 6], told[:, 7] = np.sin(angle), np.cos(angle)
    told[:, 8] = [is_mobile for _, is_mobile in moments]
    told[:, 9] = [query.trigger == "request" for query in queries]
    told[:, 10] = [bool(query.query) for query in queries]
    return told.astype(np.float32)


def _starts(sizes: NDArray[np.integer]) -> Int64s:
    starts = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def _flat(lists: Iterable[Iterable[Number]], kind: type[Scalar]) -> NDArray[Scalar]:
    """Lay lists of numbers end to end."""
    return np.fromiter(chain.from_iterable(lists), kind)
