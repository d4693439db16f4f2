"""Session kNN: what went with these items in the most similar of the recent sessions."""

import numpy as np

from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.candidates.selection import mark, select_top, unmark
from models.items import ItemTable
from models.items.sessions import LENGTH, Sessions
from models.names import SourceName
from models.numeric.arrays import Bytes, Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import AHEAD, prefetch
from models.query.batch import QueryBatch

N_LAST = 10
"""Items of the running session that are looked up."""
N_RECENT_SESSIONS = 500
"""Sessions looked at of each of them, the most recent."""
N_NEIGHBOURS = 300
RECENCY = 1.2
"""Steps back at which an item of the running session counts 1 / e."""
FADING_MS = 7 * 86_400_000.0
"""Age at which a session counts 1 / e."""
MOST_FADED = 20.0
"""Powers of e that age may take away: beyond, all are equally old, and none becomes nothing."""
NEARNESS = 3.0
"""Steps from the shared item at which an item of a neighbour counts 1 / e."""
LENGTH_POWER = 0.4
"""How much a long session has to share with this one to be as similar as a short one."""
_TABULATED = 256
"""Items of fewer sessions than this, which are nearly all, look their rarity up once it has been computed."""


class SessionKNN:
    """Items of similar sessions, the nearer to what was shared the better.

    similarity(s) = sum over the items r = 0, 1, ... of this session that s shares of e^(-r / 1.2) / |s|^0.4
    * e^(-age(s) / 7 days), r steps back from the newest; score(j) = sum over the 300 most similar sessions s of
    similarity(s) * e^(-d / 3) * ln(1 + S / (1 + S_j)), for each j in s that stands d > 0 steps from the newest item
    that is shared (where it was met last), S sessions and S_j of them with j. Of each item, only the 500 most recent
    sessions are looked at; a user is no neighbour of themselves. Only the running session's items count (the newest
    always does), and disliked ones do not. Ludewig, Mauro, Latifi, Jannach (2021), Empirical analysis of session-based
    recommendation algorithms (STAN, VSKNN); Kersbergen, Sprangers, Schelter (2022), Serenade (VMIS-kNN).
    """

    name: SourceName = "session_knn"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose the items that go best with the running session."""
        sessions, held = table.sessions, scratch(max(table.n, len(table.sessions.records)))
        holders = sessions.holders.arrays
        _find(
            batch.history, batch.history_weights, batch.n_session, batch.users, batch.at, sessions.records,
            holders.cells, holders.starts, holders.sizes, sessions.n, batch.marks.starts, batch.marks.rows,
            batch.wanted, table.hashes, states, held.sums, held.slots, found.rows, found.scores,
        )  # fmt: skip

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:
        """Name the item of the session through which the neighbours said most for each."""
        causes = np.full(rows.shape, -1, np.int64)
        sessions, held = table.sessions, scratch(max(table.n, len(table.sessions.records)))
        holders = sessions.holders.arrays
        _explain(
            batch.history, batch.history_weights, batch.n_session, batch.users, batch.at, sessions.records,
            holders.cells, holders.starts, holders.sizes, held.slots, rows, causes,
        )  # fmt: skip
        return causes


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
def _distinct(history: Int32s, history_weights: Floats, n_session: int, items: Int32s, steps: Int32s) -> int:
    """List the items that count, newest first, each once with its steps back; say how many there are."""
    n = 0
    for r in range(min(N_LAST, max(1, n_session))):
        item = history[r]
        if item < 0 or history_weights[r] < 0:
            continue
        known = False
        for p in range(n):
            known |= items[p] == item
        if not known:
            items[n], steps[n] = item, r
            n += 1
    return n


@inline
def _neighbours(
    items: Int32s, steps: Int32s, n_items: int, user: int, at: int,
    records: Sessions, nodes: Int32s, starts: Int64s, n_holding: Int32s, slots: Int32s,
    sessions: Int64s, anchors: Int32s, similarities: Floats, order: Int32s,
) -> int:  # fmt: skip
    """Find the sessions that share an item, and where in each the newest shared one stands; order the most similar.

    Returns
    -------
    How many those are: `order` holds their places, best first, and `similarities` goes by the order, not by the place.
    """
    n = 0
    recent, short = _fading(N_LAST, RECENCY), _shortness(LENGTH)
    for q in range(n_items):
        weight = recent[steps[q]]
        first = starts[items[q]]
        end = first + n_holding[items[q]]
        first = max(first, end - N_RECENT_SESSIONS)
        for m in range(end - 1, first - 1, -1):
            if m >= first + AHEAD:
                prefetch(records, nodes[m - AHEAD] // LENGTH)
            session = nodes[m] // LENGTH
            if records[session].owner == user:
                continue
            if slots[session] == 0:
                sessions[n], anchors[n], similarities[n] = session, nodes[m] % LENGTH, 0
                n += 1
                slots[session] = n
            similarities[slots[session] - 1] += weight
    for p in range(n):
        record = records[sessions[p]]
        slots[sessions[p]] = 0
        order[p] = p
        age = max(at - record.last_at, 0)
        similarities[p] *= short[record.length] * np.exp(-min(age / FADING_MS, MOST_FADED))
    return select_top(order, similarities, n, N_NEIGHBOURS, sessions)


@kernel
def _find(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    users: Int64s,  # (B,)
    at: Int64s,  # (B,)
    records: Sessions,  # (S,)
    nodes: Int32s,
    starts: Int64s,  # (N,) where in the nodes each item's sessions begin
    n_holding: Int32s,  # (N,) how many they are
    n_all: int,
    mark_starts: Int64s,
    mark_rows: Int32s,
    wanted: int,
    hashes: Int64s,
    states: Bytes,
    sums: Floats,
    slots: Int32s,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    looked_up, steps = np.empty(N_LAST, np.int32), np.empty(N_LAST, np.int32)
    sessions = np.empty(N_LAST * N_RECENT_SESSIONS, np.int64)
    anchors, order = np.empty(len(sessions), np.int32), np.empty(len(sessions), np.int32)
    similarities = np.empty(len(sessions), np.float32)
    pool = np.empty(N_NEIGHBOURS * LENGTH, np.int32)
    scores = np.empty(len(pool), np.float32)
    near, rarities = _fading(LENGTH, NEARNESS), np.zeros(_TABULATED)
    for b in range(history.shape[0]):
        n_items = _distinct(history[b], history_weights[b], n_session[b], looked_up, steps)
        kept = _neighbours(
            looked_up, steps, n_items, users[b], at[b], records, nodes, starts, n_holding, slots,
            sessions, anchors, similarities, order,
        )  # fmt: skip
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n = 0
        for k in range(kept):
            if k + AHEAD < kept:
                prefetch(records, sessions[order[k + AHEAD]])
            record, anchor = records[sessions[order[k]]], anchors[order[k]]
            for position in range(record.length):
                j = record.items[position]
                if position == anchor:
                    continue
                if sums[j] == 0:
                    if states[j] != wanted:
                        continue
                    pool[n] = j
                    n += 1
                sums[j] += similarities[k] * near[abs(position - anchor)]
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        for p in range(n):
            scores[p] = sums[pool[p]] * _rarity(n_holding[pool[p]], n_all, rarities)
            sums[pool[p]] = 0
        found = select_top(pool, scores, n, out_rows.shape[1], hashes)
        for p in range(found):
            out_rows[b, p] = pool[p]
            out_scores[b, p] = scores[p]


@kernel
def _explain(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    users: Int64s,  # (B,)
    at: Int64s,  # (B,)
    records: Sessions,  # (S,)
    nodes: Int32s,
    starts: Int64s,  # (N,)
    n_holding: Int32s,  # (N,)
    slots: Int32s,
    rows: Int32s,  # (B, K)
    causes: Int64s,  # (B, K) written
) -> None:
    """Split each candidate's score over the items of the running session; the newest at a tie."""
    looked_up, steps = np.empty(N_LAST, np.int32), np.empty(N_LAST, np.int32)
    sessions = np.empty(N_LAST * N_RECENT_SESSIONS, np.int64)
    anchors, order = np.empty(len(sessions), np.int32), np.empty(len(sessions), np.int32)
    similarities = np.empty(len(sessions), np.float32)
    shares = np.empty((rows.shape[1], N_LAST))
    shared = np.empty(N_LAST)
    near, recent = _fading(LENGTH, NEARNESS), _fading(N_LAST, RECENCY)
    for b in range(history.shape[0]):
        if rows[b].max() < 0:
            continue
        n_items = _distinct(history[b], history_weights[b], n_session[b], looked_up, steps)
        if n_items == 1:
            # Nothing else can have led to them: many a slate saves the search.
            causes[b, :] = np.where(rows[b] >= 0, np.int64(looked_up[0]), np.int64(-1))
            continue
        kept = _neighbours(
            looked_up, steps, n_items, users[b], at[b], records, nodes, starts, n_holding, slots,
            sessions, anchors, similarities, order,
        )  # fmt: skip
        shares[:] = 0
        _number(rows[b], slots, 1)
        for k in range(kept):
            if k + AHEAD < kept:
                prefetch(records, sessions[order[k + AHEAD]])
            record, anchor = records[sessions[order[k]]], anchors[order[k]]
            _share(record.items, record.length, looked_up, steps, n_items, recent, shared)
            _give(record.items, record.length, anchor, similarities[k], near, shared[:n_items], slots, shares)
        _number(rows[b], slots, 0)
        for c in range(rows.shape[1]):
            best = shares[c, :n_items].argmax() if n_items > 0 else 0
            if shares[c, best] > 0:
                causes[b, c] = looked_up[best]


@inline
def _number(rows: Int32s, slots: Int32s, step: int) -> None:
    """Write each row's place, from 1, into its slot; with step 0, clear the slots."""
    for c in range(len(rows)):
        if rows[c] >= 0:
            slots[rows[c]] = step * (c + 1)


@inline
def _share(
    items: Int32s, n: int, looked_up: Int32s, steps: Int32s, n_items: int, recent: Floats, shared: Doubles
) -> None:
    """Say what part of a neighbour's similarity comes from each item of the running session."""
    total = 0.0
    for q in range(n_items):
        shared[q] = 0
        for p in range(n):
            if items[p] == looked_up[q]:
                shared[q] = recent[steps[q]]
                break
        total += shared[q]
    for q in range(n_items):
        shared[q] /= total


@inline
def _give(
    items: Int32s, n: int, anchor: int, similarity: float, near: Floats, shared: Doubles, slots: Int32s, shares: Doubles
) -> None:
    """Add what a neighbour says of each candidate to the items of the running session that brought the neighbour."""
    for position in range(n):
        c = slots[items[position]] - 1
        if c >= 0 and position != anchor:
            for q in range(len(shared)):
                shares[c, q] += similarity * near[abs(position - anchor)] * shared[q]
