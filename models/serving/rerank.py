"""Re-ranking: from scored candidates to the slate's positions, by the rules that look at the whole slate."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candidates.selection import select_top
from models.items import ItemTable
from models.items.vectors import UNIT
from models.numeric.arrays import Bools, Floats, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.serving.draws import draw, exchange, random, write_logits
from models.serving.filling import (
    ColdPool,
    Reranked,
    RuledItems,
    SlatePool,
    choose,
    draw_rest,
    lay_out,
    may_stand,
    place_cold,
    put,
)
from models.strategy import Strategy

N_DIVERSIFIED = 40
"""Best candidates among which diversity may choose; more where the slate is longer than half of them."""


class Quotas(NamedTuple):
    """How many of some candidates the slates of B queries may hold; Q quotas."""

    members: Bools
    """(B, Q, C) which of the candidates each of them counts; (B, Q, C + P) where there are P cold items."""
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
    items = table.derived("re-ranked items", lambda: RuledItems(table.category, table.vectors, table.hashes))
    quotas = quotas or Quotas(np.zeros((n, 0, rows.shape[1]), np.bool_), np.zeros((n, 0), np.int32))
    cold = cold or ColdPool(np.empty((n, 0), np.int32), np.empty((n, 0), np.float32), np.zeros(n, np.bool_))
    lengths = np.array(n_items, np.int32)
    _fill_slates(rows, scores, lengths, np.array(seeds, np.uint64), rules, items, quotas, cold, reranked)
    return reranked


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
    pool: SlatePool,  # the chosen ones are taken
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
            if not may_stand(pool, c, rules.max_per_category):
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
        choose(pool, top)
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
    pool: SlatePool,
    positions: Int32s,  # (L,) written
) -> int:
    """Choose up to `goal` items, with those that are chosen, by score alone; say how many there are."""
    for c in range(n):
        order[c] = c
    select_top(order, scores, n, n, hashes)
    for c in order[:n]:
        if n_chosen < goal and may_stand(pool, c, rules.max_per_category):
            positions[n_chosen] = c
            choose(pool, c)
            n_chosen += 1
    return n_chosen


@kernel
def _fill_slates(
    rows: Int32s,  # (B, C)
    scores: Floats,  # (B, C)
    n_items: Int32s,  # (B,)
    seeds: NDArray[np.uint64],  # (B,)
    rules: _Rules,
    items: RuledItems,
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
        pool = SlatePool(
            pooled[:end], categories[:end], n_held[:end], taken[:end], quotas.members[b], quotas.limits[b].copy()
        )
        lay_out(rows[b, :n], cold.rows[b], items, pool)
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
            n_sure -= place_cold(pool, cold.logits[b], goal - 1, rules.max_per_category, free, state, slates, b)
        logits = slates.logits[b, :n]
        write_logits(scores[b, :n], rules.temperature, logits)
        for _ in range(n_explored):
            for c in range(n):
                free[c] = may_stand(pool, c, rules.max_per_category)
            drawn, share = draw(logits, free[:n], state)
            if drawn < 0:
                break
            put(pool, drawn, share, n_chosen, slates, b)
            n_chosen += 1
        if n_cold > 0 and not slates.sampled[b]:
            n_chosen = draw_rest(
                pool, cold.logits[b], n_chosen, n_items[b], rules.max_per_category, free, state, slates, b
            )
        exchange(rules.swapped, n_sure, positions, slates.propensities[b], state)
        slates.n_items[b] = n_chosen
