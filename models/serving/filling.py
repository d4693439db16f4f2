"""A slate while it is filled: who may stand on it, who is chosen, and cold items that are drawn into it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.kernels import inline
from models.serving.draws import draw


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


class ColdPool(NamedTuple):
    """P cold items at most for each of B slates."""

    rows: Int32s
    """(B, P) of the table, -1 where there is no more: none for a slate that has no place for one."""
    logits: Floats
    """(B, P) by which they are drawn: how well each fits the user, on a scale of mean 0 and deviation 1, over the
    temperature."""
    has_place: Bools
    """(B,) whether one of them takes a place from the candidates."""


class RuledItems(NamedTuple):
    """What the rules look at of N items."""

    categories: Hash32s
    """(N,) 0 none."""
    vectors: Int8s
    """(N, D) of length 127."""
    hashes: Int64s
    """(N,)"""


class SlatePool(NamedTuple):
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


@inline
def may_stand(pool: SlatePool, c: int, cap: int) -> bool:
    """Say whether candidate c is free, and neither its category nor a quota of it is full."""
    may = not pool.taken[c] and pool.n_held[c] < cap
    for q in range(len(pool.left)):
        may = may and (pool.left[q] > 0 or not pool.members[q, c])
    return may


@inline
def choose(pool: SlatePool, c: int) -> None:
    """Take candidate c, and count it for its quotas and all of its category; one without a category counts for none."""
    pool.taken[c] = True
    category = pool.categories[c]
    if category != 0:
        for other in range(len(pool.rows)):
            pool.n_held[other] += pool.categories[other] == category
    for q in range(len(pool.left)):
        pool.left[q] -= pool.members[q, c]


@inline
def _give_back(pool: SlatePool, c: int) -> None:
    """Undo that candidate c was chosen."""
    pool.taken[c] = False
    category = pool.categories[c]
    if category != 0:
        for other in range(len(pool.rows)):
            pool.n_held[other] -= pool.categories[other] == category
    for q in range(len(pool.left)):
        pool.left[q] += pool.members[q, c]


@inline
def lay_out(
    rows: Int32s,  # (n,) of the candidates
    cold: Int32s,  # (P,) -1 where there is no more
    items: RuledItems,
    pool: SlatePool,  # written; the cold items are the last P
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
    pool: SlatePool,
    logits: Floats,  # (P,) of the cold items, which stand last in the pool
    cap: int,
    free: Bools,  # (C,) or more, written
    state: NDArray[np.uint64],  # (1,) moved on
) -> tuple[int, float]:
    """Draw a cold item among those that may stand; return where it is in the pool and its probability, or (-1, 0)."""
    first = len(pool.rows) - len(logits)
    for p in range(len(logits)):
        free[p] = may_stand(pool, first + p, cap)
        for c in range(first):
            free[p] &= not (pool.taken[c] and pool.rows[c] == pool.rows[first + p])
    drawn, share = draw(logits, free[: len(logits)], state)
    return (first + drawn if drawn >= 0 else -1), share


@inline
def place_cold(
    pool: SlatePool,
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
        choose(pool, candidate)
        return False
    put(pool, drawn, share, place, slates, b)
    for c in range(len(pool.rows) - len(logits)):
        pool.taken[c] |= pool.rows[c] == pool.rows[drawn]
    return True


@inline
def draw_rest(
    pool: SlatePool,
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
        put(pool, drawn, share, n, slates, b)
        n += 1
    return n


@inline
def put(pool: SlatePool, drawn: int, share: float, place: int, slates: Reranked, b: int) -> None:
    """Give a place to a candidate that was drawn with this probability."""
    slates.positions[b, place] = drawn
    slates.propensities[b, place] = share
    slates.explored[b, place] = True
    choose(pool, drawn)
