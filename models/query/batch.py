"""A batch of queries as arrays: what the candidate sources, the features and the rules read."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.items import ItemTable
from models.messages import Context, Value
from models.names import SIGNALS
from models.numeric.arrays import Bools, Doubles, Floats, Int32s, Int64s
from models.numeric.ids import hash64
from models.numeric.sphere import unit_vectors
from models.query.eligible import Ineligible
from models.query.ragged import Ragged, Tastes
from models.query.rules import Resolved, hidden_by, rules_of
from models.query.users import Asked, Histories, read_users
from models.segments import hour_of
from models.strategy import Strategy
from models.user.query import Query
from models.user.record import N_INTERESTS, N_RECENT, STATE, States

_MOBILE = frozenset({"mobile", "phone", "smartphone", "ios", "android", "app"})
_NEVER = int(np.iinfo(np.int64).max)
_NOWHERE = (np.nan, np.nan)
_NO_NUMBERS: Int64s = np.empty(0, np.int64)

Scalar = TypeVar("Scalar", bound=np.generic)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """B queries of one strategy and the same rules, all of them with candidates of their own or none of them."""

    queries: list[Query]
    strategy: Strategy
    own: bool
    """Whether the queries bring their own candidates: then the marked items are the only ones allowed."""
    at: Int64s
    """(B,) Unix milliseconds."""
    users: Int64s
    """(B,) hashes."""
    visit: Doubles
    """(B, 2) what one visit at the query's moment weighs, in landmark units of the short and the long half-life."""
    current: Int32s
    """(B,) row of the item that the user is looking at, -1 none."""
    history: Histories
    marks: Ragged
    """Rows that the rules forbid; with own candidates, the rows that are allowed."""
    locked: Int32s
    """(L,) rows that nobody of the batch may be shown, kept out of the marks, which are many already."""
    rules: tuple[Resolved, ...]
    """The strategy's rules, as they hold for all of these queries alike."""
    hidden: Bools | None
    """(N,) items that a rule hides from the whole batch; None where no rule does."""
    impressions: Ragged
    """Rows shown without a reaction, and their decayed number."""
    interests: Tastes
    """W = 2: short-term, long-term."""
    preferences: Tastes
    """W = 1: what the user's own learner says."""
    mean_price: Floats
    """(B,) 0 unknown."""
    signals: Floats
    """(B, 12) in the order of SIGNALS, bounded."""
    locations: Doubles
    """(B, 3) where each query is, unit vectors; nan where that is not known."""
    _derived: dict[str, Any] = field(default_factory=dict, compare=False)

    def derived(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` makes of the batch under this name: made once."""
        if name not in self._derived:
            self._derived[name] = make()
        made: T = self._derived[name]
        return made

    @property
    def n(self) -> int:
        """How many queries there are."""
        return len(self.queries)

    @classmethod
    def from_queries(cls, queries: list[Query], table: ItemTable) -> "QueryBatch":
        """Turn queries of the same strategy into arrays; their items are looked up in one go."""
        strategy, rules = queries[0].strategy, rules_of(queries[0])
        own = queries[0].candidates is not None
        n = len(queries)
        at = np.array([query.at for query in queries], np.int64)
        records: States = np.frombuffer(b"".join([query.state for query in queries]), STATE)
        current_hashes = np.array([query.current_item for query in queries], np.int64)
        shown_owners, shown_items = _lists([query.impressions for query in queries])
        owned_owners, owned_items = _lists([query.owned for query in queries])
        own_owners, own_items = _lists([[hash64(item) for item in query.candidates or ()] for query in queries])
        lists = [current_hashes, records["recent_items"].ravel(), shown_items, owned_items, own_items]
        current, recent, shown, owned, candidates = _split(table.rows_of(np.concatenate(lists)), map(len, lists))
        shown_counts = _flat([query.impressions.values() for query in queries], len(shown), np.float32)

        ineligible = Ineligible.of(queries, records, table)
        if own:
            allowed = (candidates != current[own_owners]) & ineligible.allows(own_owners, candidates)
            marked = [(own_owners[allowed], candidates[allowed])]
        else:
            tired = shown_counts >= strategy.max_impressions - 0.5  # they decay at once: never quite so many
            marked = [(shown_owners[tired], shown[tired]), (ineligible.owners, ineligible.rows)]
            numbers = np.arange(n)
            if not strategy.allow_owned:
                marked.append((owned_owners, owned))
            if not (strategy.allow_seen and strategy.allow_current):
                marked.append((numbers, current))
            if not strategy.allow_seen:
                # Where a record holds fewer items, the rows are -1.
                marked.append((numbers.repeat(N_RECENT), recent))
        mark_owners, mark_rows = (np.concatenate(part) for part in zip(*marked, strict=True))

        asked = Asked(at, _started_at(queries), _evidence(queries), current_hashes, current, recent)
        history, mean_price = Histories.empty(n), np.zeros(n, np.float32)
        interests, preferences = Tastes.empty(n, N_INTERESTS, 2), Tastes.empty(n, N_INTERESTS, 1)
        signals = np.empty((n, len(SIGNALS)), np.float32)
        read_users(records, asked, table.attributes, history, interests, preferences, mean_price, signals)
        return cls(
            queries=queries,
            strategy=strategy,
            own=own,
            at=at,
            visit=landmark_scale(
                at[:, None], table.landmark_at, np.array([table.half_life_short_ms, table.half_life_long_ms])
            ),
            users=np.array([query.user or hash64(query.user_id) for query in queries], np.int64),
            current=current,
            history=history,
            marks=Ragged.of(n, mark_owners, mark_rows, np.ones(len(mark_rows), np.float32)),
            locked=ineligible.locked,
            rules=rules,
            hidden=hidden_by(rules, table),
            impressions=Ragged.of(n, shown_owners, shown, shown_counts),
            interests=interests.cut(),
            preferences=preferences.cut(),
            mean_price=mean_price,
            signals=signals,
            locations=_locations(queries),
        )


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


def _evidence(queries: list[Query]) -> Doubles:
    """(B, 7) what the queries themselves say of the signals, in the order of `Asked.evidence`."""
    return np.array(
        [
            (
                query.n_events,
                query.n_last_5_min,
                query.n_last_hour,
                hour_of(query.context, query.at),
                _is_mobile(query.context),
                query.trigger == "request",
                bool(query.query),
            )
            for query in queries
        ],
        np.float64,
    )


def _locations(queries: list[Query]) -> Doubles:
    """(B, 3) unit vectors; nan where it is not known where a query is."""
    if all(query.location is None for query in queries):
        return np.full((len(queries), 3), np.nan)
    return unit_vectors(*np.array([query.location or _NOWHERE for query in queries], np.float64).T)


def _is_mobile(context: Context | None) -> bool:
    device: Value = context.get("device") if context else None
    return isinstance(device, str) and device.lower() in _MOBILE


def _lists(lists: list[Collection[int]]) -> tuple[Int64s, Int64s]:
    """Lay lists end to end: (M,) the number of the list that each entry is of, and (M,) the entries."""
    if not any(lists):
        return _NO_NUMBERS, _NO_NUMBERS
    sizes = [len(held) for held in lists]
    return np.arange(len(lists)).repeat(sizes), _flat(lists, sum(sizes), np.int64)


def _flat(lists: Iterable[Iterable[float]], n: int, kind: type[Scalar]) -> NDArray[Scalar]:
    """Lay lists of n numbers in all end to end."""
    return np.fromiter(chain.from_iterable(lists), kind, n)


def _split(rows: Int32s, sizes: Iterable[int]) -> list[Int32s]:
    """Split rows that lie end to end."""
    parts, start = [], 0
    for size in sizes:
        parts.append(rows[start : start + size])
        start += size
    return parts
