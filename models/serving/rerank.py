"""Re-ranking: from scored candidates to the slate's positions, by the rules that look at the whole slate."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candidates.selection import select_top
from models.items import ItemTable
from models.items.vectors import UNIT
from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.serving.draws import draw, exchange, random, write_logits
from models.strategy import Strategy

N_DIVERSIFIED = 40
"""Best candidates among which diversity may choose; more where the slate is longer than half of them."""


class Reranked(NamedTuple):
    """Which candidate stands where on B slates of L positions at most."""

    positions: Int32s
    """(B, L) positions in the candidates' lists, those of cold items behind all C of them; -1 after the last item."""
    propensities: Doubles
    """(B, L) probability of this item here, given what stands before it; 1 where nothing was drawn."""
    explored: Bools
    """(B, L) whether the item was drawn."""
    n_items: Int64s
    """(B,) how many positions were filled."""
    sampled: Bools
    """(B,) whether the slate was drawn as a whole."""
    logits: Floats
    """(B, C) by which candidates were drawn: each place in proportion to exp(logit), among those that it may have."""


class Quotas(NamedTuple):
    """How many of some candidates the slates of B queries may hold; Q quotas."""

    members: Bools
    """(B, Q, C) which of the candidates each of them counts; (B, Q, C + P) where there are P cold items."""
    limits: Int32s
    """(B, Q)"""


class ColdPool(NamedTuple):
    """P cold items at most for each of B slates."""

    rows: Int32s
    """(B, P) of the table, -1 where there is no more: none for a slate that has no place for one."""
    logits: Floats
    """(B, P) by which they are drawn: how well each fits the user, on a scale of mean 0 and deviation 1, over the
    temperature."""
    has_place: Bools
    """(B,) whether one of them takes a place from the candidates."""


class _Rules(NamedTuple):
    """What a strategy says of slates."""

    diversity: float
    max_per_category: int
    n_slots: int
    """Last positions that are drawn."""
    temperature: float
    swapped: float
    """Share of slates in which two neighbours are exchanged."""
    sampled: float
    """Share of slates that are drawn as a whole."""


class _Items(NamedTuple):
    """What the rules look at of N items."""

    categories: Hash32s
    """(N,) 0 none."""
    vectors: Int8s
    """(N, D) of length 127."""
    hashes: Int64s
    """(N,)"""


class _Pool(NamedTuple):
    """One query's C candidates while its slate is filled, and its cold items behind them."""

    rows: Int32s
    """(C,)"""
    categories: Hash32s
    """(C,)"""
    n_held: Int32s
    """(C,) chosen items of the candidate's category."""
    taken: Bools
    """(C,) whether it is chosen."""
    members: Bools
    """(Q, C) whether a quota counts the candidate."""
    left: Int32s
    """(Q,) how many more of its own each quota lets in."""


def rerank(
    rows: Int32s,
    scores: Floats,
    n_items: Sequence[int],
    seeds: Sequence[int],
    strategy: Strategy,
    table: ItemTable,
    may_sample: Sequence[bool] | None = None,
    quotas: Quotas | None = None,
    cold: ColdPool | None = None,
) -> Reranked:
    """Fill each slate: first by score and diversity, then the last positions by chance.

    Maximal marginal relevance (Carbonell, Goldstein 1998): the next item is the one with the largest (1 - d)
    * relevance - d * max over the chosen of cosine, d = `strategy.diversity`; relevance is the score put to
    [0, 1] over the best 40, the cosine that of the content vectors. No category gets more than
    `max_per_category` positions; an item without one is free. Each exploration slot draws from the candidates
    that remain, in proportion to exp(z / temperature), z being the scores of the query's candidates on a scale of
    mean 0 and deviation 1. In a share of the slates, `strategy.swapped`, one of the pairs of neighbours above those
    slots is exchanged, each as probably as the others.

    A share of the slates, `strategy.sampled`, is drawn as a whole: every position is an exploration slot (Plackett
    1975, Luce 1959). Caps hold there too, diversity and exchanges play no part. Propensities are given which of the two
    became of the slate, which a coin decides that looks at nothing.

    Where a cold item has a place on a slate that is not drawn as a whole, it is the last one above the exploration
    slots: drawn from those of its pool that caps and quotas let in, by their logits. Its probability is given that the
    slate has such a place, which another coin decides. Positions that no candidate fills are drawn from the pool, too.

    Parameters
    ----------
    rows, scores
        (B, C) candidates in an order that does not depend on row numbers; -1 where there is none.
    n_items
        (B,) length of each slate.
    seeds
        (B,) one a slate; the same seed gives the same draw.
    strategy, table
        The rules, and what is known about the items.
    may_sample
        (B,) whether a slate may be drawn as a whole; None: each may.
    quotas
        They hold as category caps do, in draws as well; None: there are none.
    cold
        Items that are none of the candidates; None: nowhere.
    """
    n, shape = len(rows), (len(rows), max(n_items))
    reranked = Reranked(
        np.full(shape, -1, np.int32),
        np.ones(shape),
        np.zeros(shape, np.bool_),
        np.zeros(n, np.int64),
        np.ones(n, np.bool_) if may_sample is None else np.array(may_sample, np.bool_),
        np.zeros(rows.shape, np.float32),
    )
    rules = _Rules(
        strategy.diversity,
        strategy.max_per_category,
        strategy.exploration_slots,
        strategy.exploration_temperature,
        strategy.swapped,
        strategy.sampled,
    )
    items = table.derived("re-ranked items", lambda: _Items(table.category, table.vectors, table.hashes))
    quotas = quotas or Quotas(np.zeros((n, 0, rows.shape[1]), np.bool_), np.zeros((n, 0), np.int32))
    cold = cold or ColdPool(np.empty((n, 0), np.int32), np.empty((n, 0), np.float32), np.zeros(n, np.bool_))
    lengths = np.array(n_items, np.int32)
    _fill_slates(rows, scores, lengths, np.array(seeds, np.uint64), rules, items, quotas, cold, reranked)
    return reranked


@inline
def _may_stand(pool: _Pool, c: int, cap: int) -> bool:
    """Say whether candidate c is free, and neither its category nor a quota of it is full."""
    may = not pool.taken[c] and pool.n_held[c] < cap
    for q in range(len(pool.left)):
        may = may and (pool.left[q] > 0 or not pool.members[q, c])
    return may


@inline
def _choose(pool: _Pool, c: int) -> None:
    """Take candidate c, and count it for its quotas and all of its category; one without a category counts for none."""
    pool.taken[c] = True
    category = pool.categories[c]
    if category != 0:
        for other in range(len(pool.rows)):
            pool.n_held[other] += pool.categories[other] == category
    for q in range(len(pool.left)):
        pool.left[q] -= pool.members[q, c]


@inline
def _give_back(pool: _Pool, c: int) -> None:
    """Undo that candidate c was chosen."""
    pool.taken[c] = False
    category = pool.categories[c]
    if category != 0:
        for other in range(len(pool.rows)):
            pool.n_held[other] -= pool.categories[other] == category
    for q in range(len(pool.left)):
        pool.left[q] += pool.members[q, c]


@inline
def _lay_out(
    rows: Int32s,  # (n,) of the candidates
    cold: Int32s,  # (P,) -1 where there is no more
    items: _Items,
    pool: _Pool,  # written; the cold items are the last P
) -> None:
    """Lay candidates and cold items out, nothing chosen yet; what lies between is taken."""
    first = len(pool.rows) - len(cold)
    for c in range(len(pool.rows)):
        row = rows[c] if c < len(rows) else cold[c - first] if c >= first else np.int32(-1)
        pool.rows[c] = row
        pool.categories[c] = items.categories[row] if row >= 0 else 0
        pool.n_held[c] = 0
        pool.taken[c] = row < 0


@inline
def _draw_cold(
    pool: _Pool,
    logits: Floats,  # (P,) of the cold items, which stand last in the pool
    cap: int,
    free: Bools,  # (C,) or more, written
    state: NDArray[np.uint64],  # (1,) moved on
) -> tuple[int, float]:
    """Draw a cold item among those that may stand; return where it is in the pool and its probability, or (-1, 0)."""
    first = len(pool.rows) - len(logits)
    for p in range(len(logits)):
        free[p] = _may_stand(pool, first + p, cap)
        for c in range(first):
            free[p] &= not (pool.taken[c] and pool.rows[c] == pool.rows[first + p])
    drawn, share = draw(logits, free[: len(logits)], state)
    return (first + drawn if drawn >= 0 else -1), share


@inline
def _place_cold(
    pool: _Pool,
    logits: Floats,  # (P,)
    place: int,  # held by a candidate
    cap: int,
    free: Bools,  # (C,) or more, written
    state: NDArray[np.uint64],  # (1,) moved on
    slates: Reranked,
    b: int,
) -> bool:
    """Put a cold item into the place of a candidate, which may stand elsewhere then; False where none may stand."""
    candidate = slates.positions[b, place]
    _give_back(pool, candidate)
    drawn, share = _draw_cold(pool, logits, cap, free, state)
    if drawn < 0:
        _choose(pool, candidate)
        return False
    _put(pool, drawn, share, place, slates, b)
    for c in range(len(pool.rows) - len(logits)):
        pool.taken[c] |= pool.rows[c] == pool.rows[drawn]
    return True


@inline
def _draw_rest(
    pool: _Pool,
    logits: Floats,  # (P,)
    n: int,  # places that are filled
    goal: int,
    cap: int,
    free: Bools,  # (C,) or more, written
    state: NDArray[np.uint64],  # (1,) moved on
    slates: Reranked,
    b: int,
) -> int:
    """Fill what the candidates left empty with cold items; return how many places are filled."""
    while n < goal:
        drawn, share = _draw_cold(pool, logits, cap, free, state)
        if drawn < 0:
            break
        _put(pool, drawn, share, n, slates, b)
        n += 1
    return n


@inline
def _put(pool: _Pool, drawn: int, share: float, place: int, slates: Reranked, b: int) -> None:
    """Give a place to a candidate that was drawn with this probability."""
    slates.positions[b, place] = drawn
    slates.propensities[b, place] = share
    slates.explored[b, place] = True
    _choose(pool, drawn)


@inline
def _cosine(vectors: Int8s, a: int, b: int) -> float:
    """Compare two items by their (N, D) vectors."""
    dot = np.int32(0)
    for d in range(vectors.shape[1]):
        dot += np.int32(vectors[a, d]) * np.int32(vectors[b, d])
    return dot / (UNIT * UNIT)


@inline
def _diversify(
    best: Int32s,  # (W,) positions of the best candidates, the best first
    best_scores: Floats,  # (W,)
    goal: int,
    rules: _Rules,
    vectors: Int8s,  # (N, D)
    pool: _Pool,  # the chosen ones are taken
    positions: Int32s,  # (L,) written
) -> int:
    """Choose up to `goal` items by maximal marginal relevance; say how many were found."""
    n = len(best)
    nearest = np.zeros(n)  # largest cosine to the chosen; 0 before the first
    worst = best_scores[n - 1] if n else np.float32(0)
    spread = np.float64(best_scores[0]) - worst if n else 0.0
    n_chosen = 0
    while n_chosen < goal:
        top, top_value = -1, -np.inf
        for w in range(n):
            c = best[w]
            if not _may_stand(pool, c, rules.max_per_category):
                continue
            if n_chosen > 0 and rules.diversity > 0:
                cosine = _cosine(vectors, pool.rows[c], pool.rows[positions[n_chosen - 1]])
                nearest[w] = cosine if n_chosen == 1 else max(nearest[w], cosine)
            relevance = (best_scores[w] - worst) / spread if spread > 0 else 1.0
            value = (1 - rules.diversity) * relevance - rules.diversity * nearest[w]
            if value > top_value:
                top, top_value = c, value
        if top < 0:
            break
        positions[n_chosen] = top
        _choose(pool, top)
        n_chosen += 1
    return n_chosen


@inline
def _fill_by_score(
    order: Int32s,  # (C,) or more, written
    scores: Floats,  # (C,) or more, put into order
    n: int,
    hashes: Int64s,
    n_chosen: int,
    goal: int,
    rules: _Rules,
    pool: _Pool,
    positions: Int32s,  # (L,) written
) -> int:
    """Choose up to `goal` items, with those that are chosen, by score alone; say how many there are."""
    for c in range(n):
        order[c] = c
    select_top(order, scores, n, n, hashes)
    for c in order[:n]:
        if n_chosen < goal and _may_stand(pool, c, rules.max_per_category):
            positions[n_chosen] = c
            _choose(pool, c)
            n_chosen += 1
    return n_chosen


@kernel
def _fill_slates(
    rows: Int32s,  # (B, C)
    scores: Floats,  # (B, C)
    n_items: Int32s,  # (B,)
    seeds: NDArray[np.uint64],  # (B,)
    rules: _Rules,
    items: _Items,
    quotas: Quotas,
    cold: ColdPool,
    slates: Reranked,  # written; `sampled` says which may be
) -> None:
    """Fill one slate after the other: the best by diversity, the next by score alone, the last by chance."""
    n_cold = cold.rows.shape[1]
    width = rows.shape[1] + n_cold
    order = np.empty(width, np.int32)  # positions in the candidates' list
    ordered_scores = np.empty(width, np.float32)
    pooled = np.empty(width, np.int32)
    hashes = np.empty(width, np.int64)  # by position
    categories = np.empty(width, np.uint32)
    n_held = np.empty(width, np.int32)
    taken = np.empty(width, np.bool_)
    free = np.empty(width, np.bool_)
    state = np.empty(1, np.uint64)
    for b in range(rows.shape[0]):
        positions = slates.positions[b]
        n = 0
        while n < rows.shape[1] and rows[b, n] >= 0:
            order[n] = n
            ordered_scores[n] = scores[b, n]
            hashes[n] = items.hashes[rows[b, n]]
            n += 1
        end = width if n_cold > 0 else n
        pool = _Pool(
            pooled[:end], categories[:end], n_held[:end], taken[:end], quotas.members[b], quotas.limits[b].copy()
        )
        _lay_out(rows[b, :n], cold.rows[b], items, pool)
        state[0] = seeds[b]
        slates.sampled[b] = slates.sampled[b] and rules.sampled > 0 and random(state) < rules.sampled
        n_explored = n_items[b] if slates.sampled[b] else min(rules.n_slots, n_items[b])
        goal = n_items[b] - n_explored
        n_best = select_top(order, ordered_scores, n, max(N_DIVERSIFIED, 2 * n_items[b]), hashes)
        n_chosen = _diversify(order[:n_best], ordered_scores[:n_best], goal, rules, items.vectors, pool, positions)
        if n_chosen < goal:
            # The caps used up the best: the rest fills in.
            ordered_scores[:n] = scores[b, :n]
            n_chosen = _fill_by_score(order, ordered_scores, n, hashes, n_chosen, goal, rules, pool, positions)
        n_sure = n_chosen
        if cold.has_place[b] and n_sure == goal > 0 and not slates.sampled[b]:
            n_sure -= _place_cold(pool, cold.logits[b], goal - 1, rules.max_per_category, free, state, slates, b)
        logits = slates.logits[b, :n]
        write_logits(scores[b, :n], rules.temperature, logits)
        for _ in range(n_explored):
            for c in range(n):
                free[c] = _may_stand(pool, c, rules.max_per_category)
            drawn, share = draw(logits, free[:n], state)
            if drawn < 0:
                break
            _put(pool, drawn, share, n_chosen, slates, b)
            n_chosen += 1
        if n_cold > 0 and not slates.sampled[b]:
            n_chosen = _draw_rest(
                pool, cold.logits[b], n_chosen, n_items[b], rules.max_per_category, free, state, slates, b
            )
        exchange(rules.swapped, n_sure, positions, slates.propensities[b], state)
        slates.n_items[b] = n_chosen
