"""The two loops shared by the sources that walk from the history's items to their neighbours."""

import numpy as np

from models.candidates.selection import mark, select_top, unmark
from models.numeric.arrays import Bytes, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.numeric.prefetch import prefetch_row


@inline
def add_neighbours(
    factor: float,
    neighbours: Int32s,  # (K,) of one item
    weights: Floats,  # (K,)
    states: Bytes,
    wanted: int,
    sums: Floats,
    pool: Int32s,
    n: int,
) -> int:
    """Add one item's share to each of its neighbours; return how many the pool now holds."""
    for k in range(len(neighbours)):
        j = neighbours[k]
        if j < 0:
            break
        gain = factor * weights[k]
        if sums[j] == 0:
            if states[j] != wanted or gain <= 0:
                continue
            pool[n] = j
            n += 1
        sums[j] += gain
    return n


@kernel
def sum_neighbours(
    history: Int32s,  # (B, 32)
    factors: Floats,  # (B, R) what each item of the history counts; 0 is skipped
    neighbours: Int32s,  # (N, K)
    weights: Floats,  # (N, K)
    popularity: Floats,  # (N, 2) short, long
    smoothing: Floats,  # (B,) below 0: do not divide by popularity
    mark_starts: Int64s,
    mark_rows: Int32s,
    wanted: int,
    hashes: Int64s,
    states: Bytes,  # (N,)
    sums: Floats,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    """Score j by the sum over the history of factor_i * weight_ij, over sqrt(popularity_j + smoothing)."""
    n_factors = factors.shape[1]
    n_neighbours = neighbours.shape[1]
    pool_rows = np.empty(n_factors * n_neighbours, np.int32)
    pool_scores = np.empty(n_factors * n_neighbours, np.float32)
    for b in range(history.shape[0]):
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n = 0
        for r in range(n_factors):
            if r + 1 < n_factors and history[b, r + 1] >= 0:
                prefetch_row(neighbours, history[b, r + 1])
                prefetch_row(weights, history[b, r + 1])
            i = history[b, r]
            factor = factors[b, r]
            if i < 0 or factor <= 0:
                continue
            n = add_neighbours(factor, neighbours[i], weights[i], states, wanted, sums, pool_rows, n)
        for p in range(n):
            j = pool_rows[p]
            pool_scores[p] = sums[j]
            sums[j] = 0
            if smoothing[b] >= 0:
                pool_scores[p] /= np.sqrt(popularity[j, 1] + smoothing[b])
        kept = select_top(pool_rows, pool_scores, n, out_rows.shape[1], hashes)
        for p in range(kept):
            out_rows[b, p] = pool_rows[p]
            out_scores[b, p] = pool_scores[p]
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])


@kernel
def strongest_cause(
    history: Int32s,  # (B, 32)
    factors: Floats,  # (B, R)
    neighbours: Int32s,  # (N, K)
    weights: Floats,  # (N, K)
    rows: Int32s,  # (B, K')
    causes: Int64s,  # (B, K') written
) -> None:
    """Find the item of the history with the largest factor_i * weight_ij; the newest at a tie."""
    for b in range(rows.shape[0]):
        for p in range(rows.shape[1]):
            j = rows[b, p]
            best = 0.0
            if j < 0:
                continue
            for r in range(factors.shape[1]):
                i = history[b, r]
                factor = factors[b, r]
                if i < 0 or factor <= 0:
                    continue
                for k in range(neighbours.shape[1]):
                    if neighbours[i, k] == j:
                        gain = factor * weights[i, k]
                        if gain > best:
                            best = gain
                            causes[b, p] = i
                        break
