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
    """(B, L) positions in the candidates' lists; -1 after the last item."""
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
    """(B, Q, C) which of the candidates each of them counts."""
    limits: Int32s
    """(B, Q)"""


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
    """One query's C candidates while its slate is filled."""

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
    _fill_slates(rows, scores, np.array(n_items, np.int32), np.array(seeds, np.uint64), rules, items, quotas, reranked)
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


@kernel
def _fill_slates(
    rows: Int32s,  # (B, C)
    scores: Floats,  # (B, C)
    n_items: Int32s,  # (B,)
    seeds: NDArray[np.uint64],  # (B,)
    rules: _Rules,
    items: _Items,
    quotas: Quotas,
    slates: Reranked,  # written; `sampled` says which may be
) -> None:
    """Fill one slate after the other: the best by diversity, the next by score alone, the last by chance."""
    width = rows.shape[1]
    order = np.empty(width, np.int32)  # positions in the candidates' list
    ordered_scores = np.empty(width, np.float32)
    hashes = np.empty(width, np.int64)  # by position
    categories = np.empty(width, np.uint32)
    n_held = np.empty(width, np.int32)
    taken = np.empty(width, np.bool_)
    free = np.empty(width, np.bool_)
    state = np.empty(1, np.uint64)
    for b in range(rows.shape[0]):
        positions = slates.positions[b]
        n = 0
        while n < width and rows[b, n] >= 0:
            order[n] = n
            ordered_scores[n] = scores[b, n]
            hashes[n] = items.hashes[rows[b, n]]
            categories[n] = items.categories[rows[b, n]]
            n_held[n] = 0
            taken[n] = False
            n += 1
        pool = _Pool(rows[b, :n], categories[:n], n_held[:n], taken[:n], quotas.members[b], quotas.limits[b].copy())
        state[0] = seeds[b]
        slates.sampled[b] = slates.sampled[b] and rules.sampled > 0 and random(state) < rules.sampled
        n_explored = n_items[b] if slates.sampled[b] else min(rules.n_slots, n_items[b])
        goal = n_items[b] - n_explored
        n_best = select_top(order, ordered_scores, n, max(N_DIVERSIFIED, 2 * n_items[b]), hashes)
        n_chosen = _diversify(order[:n_best], ordered_scores[:n_best], goal, rules, items.vectors, pool, positions)
        if n_chosen < goal:
            # The caps used up the best: the rest fills in, by score alone.
            for c in range(n):
                order[c] = c
                ordered_scores[c] = scores[b, c]
            select_top(order, ordered_scores, n, n, hashes)
            for c in order[:n]:
                if n_chosen < goal and _may_stand(pool, c, rules.max_per_category):
                    positions[n_chosen] = c
                    _choose(pool, c)
                    n_chosen += 1
        n_sure = n_chosen
        logits = slates.logits[b, :n]
        write_logits(scores[b, :n], rules.temperature, logits)
        for _ in range(n_explored):
            for c in range(n):
                free[c] = _may_stand(pool, c, rules.max_per_category)
            drawn, share = draw(logits, free[:n], state)
            if drawn < 0:
                break
            positions[n_chosen] = drawn
            slates.propensities[b, n_chosen] = share
            slates.explored[b, n_chosen] = True
            _choose(pool, drawn)
            n_chosen += 1
        exchange(rules.swapped, n_sure, positions, slates.propensities[b], state)
        slates.n_items[b] = n_chosen
