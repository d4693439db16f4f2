"""Sums of what leads from a history's items to others, damped by how often each item is seen at all."""

import numpy as np

from models.candidates.neighbours import Links, find_strongest, sum_neighbours
from models.candidates.selection import Allowed, Candidates, propose, take_allowed
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.users import LONG, Histories, liked_item

N_LAST = 15
"""Items of the history that are looked at, the newest."""
SMOOTHING = 5.0
"""Visits added to both items, so that a pair seen once is no certainty."""


@inline
def _weigh(history: Histories, b: int, recency: Floats, popularity: Floats, smoothing: np.float32) -> Floats:
    """Return (R,) recency_r / sqrt(n_i + smoothing); 0 where the item does not count."""
    factors = np.zeros(len(recency), np.float32)
    for r in range(len(recency)):
        item = liked_item(history, b, r)
        if item >= 0:
            factors[r] = recency[r] / np.sqrt(popularity[item, LONG] + smoothing)
    return factors


@kernel
def sum_damped(
    history: Histories,
    visit: Doubles,  # (B, 2) the weight of a visit at the query's moment
    recency: Floats,  # (R,) what each item of the history counts, the newest first
    links: Links,
    weights: Floats,  # (P,) rules or covisits of the links
    n_roots: int,
    allowed: Allowed,
    sums: Floats,  # (N,) cells
    found: Candidates,
) -> None:
    """Propose by sum over r of recency_r * weight_ij / (sqrt(n_i + 5) * (n_j + 5)^(1 / 2^n_roots)).

    i is the r-th newest item, n the decayed visits. The 5 is scaled to the table's landmark (forward decay, Cormode et
    al. 2009), so that all of it cancels.
    """
    pool = np.empty(len(recency) * links.most, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        smoothing = np.float32(SMOOTHING * visit[b, LONG])
        factors = _weigh(history, b, recency, links.popularity, smoothing)
        n = sum_neighbours(history.rows[b], factors, links, weights, sums, pool)
        n = take_allowed(allowed, b, pool, n, sums, scores)
        for p in range(n):
            damping = links.popularity[pool[p], LONG] + smoothing
            for _ in range(n_roots):
                damping = np.sqrt(damping)  # a root of a root takes a tenth of what a power does
            scores[p] /= damping
        propose(pool, scores, n, allowed.hashes, found, b)


@kernel
def explain_damped(
    history: Histories,
    visit: Doubles,  # (B, 2)
    recency: Floats,  # (R,)
    links: Links,
    weights: Floats,  # (P,)
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Find the item of the history that contributed most to each row."""
    for b in range(len(rows)):
        factors = _weigh(history, b, recency, links.popularity, np.float32(SMOOTHING * visit[b, LONG]))
        find_strongest(history.rows[b], factors, links, weights, rows[b], causes[b])
