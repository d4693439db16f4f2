"""Re-ranking: from scored candidates to the slate's positions, by the rules that look at the whole slate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.candidates.selection import select_top
from models.items import ItemTable
from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.strategy import Strategy

N_DIVERSIFIED = 40
"""Best candidates among which diversity may choose; more where the slate is longer than half of them."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """Which candidate stands where."""

    places: Int32s
    """(B, L) positions in the candidates' lists; -1 after the last item."""
    propensities: Doubles
    """(B, L) probability of this item here, given what stands before it; 1 where nothing was drawn."""
    explored: Bools
    """(B, L) whether the item was drawn."""
    n_items: Int64s
    """(B,) how many positions were filled."""


def rerank(
    rows: Int32s,
    scores: Floats,
    n_items: Sequence[int],
    seeds: Sequence[int],
    strategy: Strategy,
    table: ItemTable,
) -> Reranked:
    """Fill each slate: first by score and diversity, then the last positions by chance.

    Maximal marginal relevance (Carbonell, Goldstein 1998): the next item is the one with the largest (1 - d)
    * relevance - d * max over the chosen of cosine, d = `strategy.diversity`; relevance is the score put to
    [0, 1] over the best 40, the cosine that of the content vectors. No category gets more than
    `max_per_category` places; an item without one is free. Each exploration slot draws from the candidates
    that remain, in proportion to exp(score / temperature).

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
    """
    shape = (len(rows), max(n_items))
    places, propensities, explored = np.full(shape, -1, np.int32), np.ones(shape), np.zeros(shape, np.bool_)
    filled = np.zeros(len(rows), np.int64)
    _fill_slates(
        rows,
        scores,
        np.array(n_items, np.int32),
        np.array(seeds, np.uint64),
        strategy.diversity,
        strategy.max_per_category,
        strategy.exploration_slots,
        strategy.exploration_temperature,
        table.category,
        table.vectors,
        table.hashes,
        places,
        propensities,
        explored,
        filled,
    )
    return Reranked(places, propensities, explored, filled)


@inline
def _random(state: NDArray[np.uint64]) -> float:
    """Draw from [0, 1) by SplitMix64 (Steele, Lea, Flood 2014); moves the one-cell state on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@inline
def _count_category(category_of: Hash32s, held: Int32s, n: int, place: int) -> None:
    """Count the item at `place` for all of its category; one without a category counts for none."""
    category = category_of[place]
    if category != 0:
        for c in range(n):
            held[c] += category_of[c] == category


@inline
def _cosine(vectors: Int8s, a: int, b: int) -> float:
    dot = np.int32(0)
    for d in range(vectors.shape[1]):
        dot += np.int32(vectors[a, d]) * np.int32(vectors[b, d])
    return dot / (127.0 * 127.0)


@inline
def _draw(
    scores: Floats,  # (C,)
    free: Bools,  # (C,) who may be drawn
    temperature: float,
    state: NDArray[np.uint64],
) -> tuple[int, float]:
    """Draw one candidate by softmax; return its place and probability, (-1, 0) where nobody is free."""
    top = -np.inf
    for c in range(len(scores)):
        if free[c] and scores[c] > top:
            top = scores[c]
    total = 0.0
    for c in range(len(scores)):
        if free[c]:
            total += np.exp((scores[c] - top) / temperature)
    if total == 0:
        return -1, 0.0
    goal = _random(state) * total
    last, share = -1, 0.0
    passed = 0.0
    for c in range(len(scores)):
        if free[c]:
            weight = np.exp((scores[c] - top) / temperature)
            if weight == 0:
                continue
            last, share = c, weight / total
            passed += weight
            if passed > goal:
                break
    return last, share


@inline
def _diversify(
    window: Int32s,  # (W,) places, best first
    window_scores: Floats,  # (W,)
    rows: Int32s,  # (C,)
    category_of: Hash32s,  # (C,)
    goal: int,
    diversity: float,
    cap: int,
    vectors: Int8s,
    places: Int32s,  # (L,) written
    taken: Bools,  # (C,) written
    held: Int32s,  # (C,) written
) -> int:
    """Choose up to `goal` items by maximal marginal relevance; say how many were found."""
    n = len(window)
    nearest = np.zeros(n)  # largest cosine to the chosen; 0 before the first
    worst = window_scores[n - 1] if n else np.float32(0)
    spread = np.float64(window_scores[0]) - worst if n else 0.0
    n_chosen = 0
    while n_chosen < goal:
        best, best_value = -1, -np.inf
        for w in range(n):
            place = window[w]
            if taken[place] or held[place] >= cap:
                continue
            if n_chosen > 0 and diversity > 0:
                cosine = _cosine(vectors, rows[place], rows[places[n_chosen - 1]])
                nearest[w] = cosine if n_chosen == 1 else max(nearest[w], cosine)
            relevance = (window_scores[w] - worst) / spread if spread > 0 else 1.0
            value = (1 - diversity) * relevance - diversity * nearest[w]
            if value > best_value:
                best, best_value = w, value
        if best < 0:
            break
        place = window[best]
        places[n_chosen] = place
        taken[place] = True
        _count_category(category_of, held, len(held), place)
        n_chosen += 1
    return n_chosen


@kernel
def _fill_slates(
    rows: Int32s,  # (B, C)
    scores: Floats,  # (B, C)
    n_items: Int32s,  # (B,)
    seeds: NDArray[np.uint64],  # (B,)
    diversity: float,
    cap: int,
    n_slots: int,
    temperature: float,
    categories: Hash32s,  # (N,)
    vectors: Int8s,  # (N, D)
    hashes: Int64s,  # (N,)
    places: Int32s,  # (B, L) written
    propensities: Doubles,  # (B, L) written
    explored: Bools,  # (B, L) written
    filled: Int64s,  # (B,) written
) -> None:
    width = rows.shape[1]
    pool = np.empty(width, np.int32)  # places in the candidates' list
    pool_scores = np.empty(width, np.float32)
    names = np.empty(width, np.int64)  # hashes, by place
    category_of = np.empty(width, np.uint32)
    held = np.empty(width, np.int32)  # chosen items of the candidate's category
    taken = np.empty(width, np.bool_)
    free = np.empty(width, np.bool_)
    state = np.empty(1, np.uint64)
    for b in range(rows.shape[0]):
        n = 0
        while n < width and rows[b, n] >= 0:
            pool[n] = n
            pool_scores[n] = scores[b, n]
            names[n] = hashes[rows[b, n]]
            category_of[n] = categories[rows[b, n]]
            held[n] = 0
            taken[n] = False
            n += 1
        n_explored = min(n_slots, n_items[b])
        goal = n_items[b] - n_explored
        n_window = select_top(pool, pool_scores, n, max(N_DIVERSIFIED, 2 * n_items[b]), names)
        n_chosen = _diversify(
            pool[:n_window],
            pool_scores[:n_window],
            rows[b],
            category_of,
            goal,
            diversity,
            cap,
            vectors,
            places[b],
            taken,
            held[:n],
        )
        if n_chosen < goal:
            # The category caps used up the best: the rest fills in, by score alone.
            for c in range(n):
                pool[c] = c
                pool_scores[c] = scores[b, c]
            select_top(pool, pool_scores, n, n, names)
            for place in pool[:n]:
                if n_chosen < goal and held[place] < cap and not taken[place]:
                    places[b, n_chosen] = place
                    taken[place] = True
                    _count_category(category_of, held, n, place)
                    n_chosen += 1
        state[0] = seeds[b]
        for _ in range(n_explored):
            for c in range(n):
                free[c] = not taken[c] and held[c] < cap
            place, share = _draw(scores[b, :n], free[:n], temperature, state)
            if place < 0:
                break
            places[b, n_chosen] = place
            propensities[b, n_chosen] = share
            explored[b, n_chosen] = True
            taken[place] = True
            _count_category(category_of, held, n, place)
            n_chosen += 1
        filled[b] = n_chosen
