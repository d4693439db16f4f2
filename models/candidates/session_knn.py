"""Session kNN: what went with these items in the most similar of the recent sessions."""

from typing import NamedTuple

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, add_to_pool, propose, select_top, take_allowed
from models.items import ItemTable
from models.items.runs import RunArrays
from models.items.sessions import LENGTH, Sessions
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import AHEAD, prefetch
from models.query.batch import QueryBatch
from models.query.users import Histories, liked_item, n_newest

N_LAST = 10
"""Items of the running session that are looked up."""
N_RECENT_SESSIONS = 500
"""Sessions looked at of each of them, the most recent."""
N_NEIGHBOURS = 300
RECENCY = 1.2
"""Steps back at which an item of the running session counts 1 / e."""
LEAST_FADING_MS = 7 * 86_400_000.0
"""Age at which a session counts 1 / e, at least: half of the half-life at which popularity is counted."""
MOST_FADED = 20.0
"""Powers of e that age may take away: beyond, all are equally old, and none becomes nothing."""
NEARNESS = 3.0
"""Steps from the shared item at which an item of a neighbour counts 1 / e."""
LENGTH_POWER = 0.4
"""How much a long session has to share with this one to be as similar as a short one."""
_TABULATED = 256
"""Items of fewer sessions than this, which are nearly all, look their rarity up once it has been computed."""


class SessionKNN(CandidateSource):
    """Items of similar sessions, the nearer to what was shared the better.

    similarity(s) = sum over the items r = 0, 1, ... of this session that s shares of e^(-r / 1.2) / |s|^0.4
    * e^(-age(s) / h), r steps back from the newest and h half of the long half-life, a week at least; score(j) = sum
    over the 300 most similar sessions s of similarity(s) * e^(-d / 3) * ln(1 + S / (1 + S_j)), for each j in s that
    stands d > 0 steps from the newest item that is shared (where it was met last), S sessions and S_j of them with j.
    Of each item, only the 500 most recent sessions are looked at; a user is no neighbour of themselves. Only the
    running session's items count (the newest always does), and disliked ones do not. Ludewig, Mauro, Latifi, Jannach
    (2021), Empirical analysis of session-based recommendation algorithms (STAN, VSKNN); Kersbergen, Sprangers, Schelter
    (2022), Serenade (VMIS-kNN).
    """

    name = "session_knn"
    reason = "others_went_on"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose the items that go best with the running session."""
        similar, recent = _similar_of(batch, table), _recent_of(table)
        _add_up(similar, recent, allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item of the session through which the neighbours said most for each."""
        similar, recent = _similar_of(batch, table), _recent_of(table)
        _explain(similar, recent, scratch(table.n).slots, rows, causes)


class _RecentSessions(NamedTuple):
    """The recent sessions, and for each of N items those that hold it (`models.items.sessions`)."""

    records: Sessions
    """(S,)"""
    runs: RunArrays
    """A run for each item, the newest session last; a cell is session * LENGTH + position of the item in it."""
    n: int
    """Sessions that are there."""
    fading_ms: float
    """Age at which one counts 1 / e."""


def _recent_of(table: ItemTable) -> _RecentSessions:
    sessions = table.sessions
    return table.derived(
        "recent sessions",
        lambda: _RecentSessions(sessions.records, sessions.holders.arrays, sessions.n, fading_ms(table)),
    )


def fading_ms(table: ItemTable) -> float:
    """Say at which age a session counts 1 / e, ms."""
    return max(LEAST_FADING_MS, table.half_life_long_ms / 2)


class _Similar(NamedTuple):
    """What B running sessions look up, and the sessions that are most similar to each, best first."""

    items: Int32s
    """(B, 10) the items that count, newest first, each once."""
    steps: Int32s
    """(B, 10) how many steps back each was met last."""
    n_items: Int32s
    """(B,)"""
    sessions: Int32s
    """(B, 300)"""
    anchors: Int32s
    """(B, 300) where in each the newest shared item stands."""
    similarities: Floats
    """(B, 300)"""
    n: Int32s
    """(B,) sessions of each."""


def _similar_of(batch: QueryBatch, table: ItemTable) -> _Similar:
    """Search once for what is proposed and for why: a second search took a sixth of the time of building slates."""
    return batch.derived("similar sessions", lambda: _search(batch, table))


def _search(batch: QueryBatch, table: ItemTable) -> _Similar:
    items, neighbours = (batch.n, N_LAST), (batch.n, N_NEIGHBOURS)
    similar = _Similar(
        np.empty(items, np.int32), np.empty(items, np.int32), np.empty(batch.n, np.int32),
        np.empty(neighbours, np.int32), np.empty(neighbours, np.int32), np.empty(neighbours, np.float32),
        np.empty(batch.n, np.int32),
    )  # fmt: skip
    slots = scratch(len(table.sessions.records)).slots
    _find_similar(batch.history, batch.users, batch.at, _recent_of(table), slots, similar)
    return similar


class _Sharing(NamedTuple):
    """Working arrays: the sessions that share an item with one running session, as they are found."""

    sessions: Int64s
    """(5000,)"""
    anchors: Int32s
    """(5000,) where in each the newest shared item stands."""
    order: Int32s
    """(5000,) the places of the most similar ones in `sessions`, best first."""
    similarities: Floats
    """(5000,) in the order of `order`."""


@inline
def _fading(n: int, scale: float) -> Floats:
    """Tabulate e^(-d / scale) for d = 0, ..., n - 1."""
    table = np.empty(n, np.float32)
    for d in range(n):
        table[d] = np.exp(-d / scale)
    return table


@inline
def _shortness(longest: int) -> Floats:
    """Tabulate n^-0.4 by a session's length n."""
    table = np.ones(longest + 1, np.float32)
    for n in range(1, longest + 1):
        table[n] = n**-LENGTH_POWER
    return table


@inline
def _rarity(n_holding: int, n_all: int, known: Doubles) -> float:
    """Return ln(1 + S / (1 + S_j)), from the table of what is known already where it stands there."""
    if n_holding < len(known) and known[n_holding] > 0:
        return float(known[n_holding])
    rarity = float(np.log1p(n_all / (1.0 + n_holding)))
    if n_holding < len(known):
        known[n_holding] = rarity
    return rarity


@inline
def _look_up(history: Histories, b: int, similar: _Similar) -> int:
    """List the items of query b that count; say how many there are."""
    items, steps = similar.items[b], similar.steps[b]
    n = 0
    for r in range(n_newest(history, b, N_LAST)):
        item = liked_item(history, b, r)
        if item < 0:
            continue
        known = False
        for p in range(n):
            known |= items[p] == item
        if not known:
            items[n], steps[n] = item, r
            n += 1
    return n


@inline
def _find_neighbours(
    items: Int32s,  # (Q,) that count
    steps: Int32s,  # (Q,)
    user: int,
    at: int,
    recent: _RecentSessions,
    slots: Int32s,
    found: _Sharing,
) -> int:
    """Find the sessions that share one of the items; say how many of them are the most similar.

    Parameters
    ----------
    user, at : who asks, a hash, and when, Unix ms.
    slots : (S,) cells, 0 before and after.
    """
    n = 0
    by_steps, by_length = _fading(N_LAST, RECENCY), _shortness(LENGTH)
    runs, sessions, similarities = recent.runs, found.sessions, found.similarities
    for q in range(len(items)):
        weight = by_steps[steps[q]]
        first = runs.starts[items[q]]
        end = first + runs.sizes[items[q]]
        first = max(first, end - N_RECENT_SESSIONS)
        for m in range(end - 1, first - 1, -1):
            if m >= first + AHEAD:
                prefetch(recent.records, runs.cells[m - AHEAD] // LENGTH)
            session = runs.cells[m] // LENGTH
            if recent.records[session].owner == user:
                continue
            if slots[session] == 0:
                sessions[n], found.anchors[n], similarities[n] = session, runs.cells[m] % LENGTH, 0
                n += 1
                slots[session] = n
            similarities[slots[session] - 1] += weight
    for p in range(n):
        record = recent.records[sessions[p]]
        slots[sessions[p]] = 0
        found.order[p] = p
        age = max(at - record.last_at, 0)
        similarities[p] *= by_length[record.length] * np.exp(-min(age / recent.fading_ms, MOST_FADED))
    return select_top(found.order, similarities, n, N_NEIGHBOURS, sessions)


@kernel
def _find_similar(
    history: Histories,
    users: Int64s,  # (B,) hashes
    at: Int64s,  # (B,)
    recent: _RecentSessions,
    slots: Int32s,  # (S,) cells
    similar: _Similar,  # written
) -> None:
    """Find the sessions that are most similar to each query's."""
    room = N_LAST * N_RECENT_SESSIONS
    found = _Sharing(
        np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.float32)
    )
    for b in range(len(history.rows)):
        n_items = similar.n_items[b] = _look_up(history, b, similar)
        items, steps = similar.items[b, :n_items], similar.steps[b, :n_items]
        similar.n[b] = _find_neighbours(items, steps, users[b], at[b], recent, slots, found)
        for k in range(similar.n[b]):
            place = found.order[k]
            similar.sessions[b, k], similar.anchors[b, k] = found.sessions[place], found.anchors[place]
            similar.similarities[b, k] = found.similarities[k]


@kernel
def _add_up(
    similar: _Similar,
    recent: _RecentSessions,
    allowed: Allowed,
    sums: Floats,  # (N,) cells
    found: Candidates,
) -> None:
    """Add up what the neighbours of each query say of their items."""
    pool = np.empty(N_NEIGHBOURS * LENGTH, np.int32)
    scores = np.empty(len(pool), np.float32)
    near, rarities = _fading(LENGTH, NEARNESS), np.zeros(_TABULATED)
    for b in range(len(similar.n)):
        kept = similar.n[b]
        n = 0
        for k in range(kept):
            if k + AHEAD < kept:
                prefetch(recent.records, similar.sessions[b, k + AHEAD])
            record, anchor = recent.records[similar.sessions[b, k]], similar.anchors[b, k]
            for position in range(record.length):
                j = record.items[position]
                if position != anchor:
                    gain = similar.similarities[b, k] * near[abs(position - anchor)]
                    n = add_to_pool(j, gain, sums, pool, n)
        n = take_allowed(allowed, b, pool, n, sums, scores)
        for p in range(n):
            scores[p] *= _rarity(recent.runs.sizes[pool[p]], recent.n, rarities)
        propose(pool, scores, n, allowed.hashes, found, b)


@kernel
def _explain(
    similar: _Similar,
    recent: _RecentSessions,
    slots: Int32s,  # (N,) cells
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Split each candidate's score over the items of the running session; the newest at a tie."""
    shares = np.empty((rows.shape[1], N_LAST))
    for b in range(len(rows)):
        if rows[b].max() < 0:
            continue
        items = similar.items[b, : similar.n_items[b]]
        if len(items) == 1:
            # Nothing else can have led to them: many a slate saves the walk through its neighbours.
            for c in range(rows.shape[1]):
                if rows[b, c] >= 0:
                    causes[b, c] = items[0]
            continue
        _number(rows[b], slots, 1)
        _share_out(b, similar, recent, slots, shares)
        _number(rows[b], slots, 0)
        for c in range(rows.shape[1]):
            best = shares[c, : len(items)].argmax() if len(items) > 0 else 0
            if shares[c, best] > 0:
                causes[b, c] = items[best]


@inline
def _share_out(
    b: int,
    similar: _Similar,
    recent: _RecentSessions,
    slots: Int32s,  # cells: the place of each candidate, from 1
    shares: Doubles,  # (L, 10) written: what each item of the running session b says of each candidate
) -> None:
    """Go through the neighbours of a running session."""
    n_items, kept = similar.n_items[b], similar.n[b]
    items, steps, shared = similar.items[b, :n_items], similar.steps[b, :n_items], np.empty(n_items)
    near, by_steps = _fading(LENGTH, NEARNESS), _fading(N_LAST, RECENCY)
    shares[:] = 0
    for k in range(kept):
        if k + AHEAD < kept:
            prefetch(recent.records, similar.sessions[b, k + AHEAD])
        record, anchor = recent.records[similar.sessions[b, k]], similar.anchors[b, k]
        if _holds_any(record.items, record.length, anchor, slots):  # few of them do
            _split(record.items, record.length, items, steps, by_steps, shared)
            similarity = similar.similarities[b, k]
            _credit(record.items, record.length, anchor, similarity, near, shared, slots, shares)


@inline
def _holds_any(items: Int32s, n: int, anchor: int, slots: Int32s) -> bool:
    """Say whether a neighbour of n items holds a candidate that has a number, other than at its anchor."""
    holds = False
    for position in range(n):
        holds |= slots[items[position]] > 0 and position != anchor
    return holds


@inline
def _number(rows: Int32s, slots: Int32s, step: int) -> None:
    """Write each row's place, from 1, into its slot; with step 0, clear the slots."""
    for c in range(len(rows)):
        if rows[c] >= 0:
            slots[rows[c]] = step * (c + 1)


@inline
def _split(items: Int32s, n: int, running: Int32s, steps: Int32s, by_steps: Floats, shared: Doubles) -> None:
    """Say what part of the similarity of a neighbour of n items comes from each of the (Q,) running session's."""
    total = 0.0
    for q in range(len(running)):
        shared[q] = 0
        for p in range(n):
            if items[p] == running[q]:
                shared[q] = by_steps[steps[q]]
                break
        total += shared[q]
    for q in range(len(running)):
        shared[q] /= total


@inline
def _credit(
    items: Int32s,  # (11,) of a neighbour, of which n are there
    n: int,
    anchor: int,
    similarity: float,
    near: Floats,  # (11,) by steps from the anchor
    shared: Doubles,  # (Q,) what part of the similarity comes from each item of the running session
    slots: Int32s,  # cells: the place of each candidate, from 1
    shares: Doubles,  # (L, 10) added to
) -> None:
    """Add what a neighbour says of each candidate to the items of the running session that brought the neighbour."""
    for position in range(n):
        c = slots[items[position]] - 1
        if c >= 0 and position != anchor:
            for q in range(len(shared)):
                shares[c, q] += similarity * near[abs(position - anchor)] * shared[q]
