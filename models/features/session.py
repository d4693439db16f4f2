"""What a candidate is beside the running session: how it follows the last items, and whether it was among them."""

import numpy as np

from models.candidates.covisitation import SMOOTHING
from models.features.bounds import clip, count_candidates, damp
from models.numeric.arrays import Doubles, Floats, Int32s
from models.numeric.kernels import inline


@inline
def compare_pairs(
    rows: Int32s,  # (B, C)
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    neighbours: Int32s,  # (N, K)
    rule_weights: Floats,  # (N, K)
    rule_totals: Doubles,  # (N,)
    covisit_weights: Floats,  # (N, K)
    popularity: Floats,  # (N, 2)
    visit: Doubles,  # (B, 2)
    sums: Floats,  # scratch
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Fill 4 features: how often each candidate follows the last two items, and goes with them."""
    for b in range(rows.shape[0]):
        n = count_candidates(rows[b])
        smoothing = SMOOTHING * visit[b, 1]
        for r in range(min(2, max(1, n_session[b]))):
            i = history[b, r]
            if i < 0 or history_weights[b, r] < 0:
                continue
            total = rule_totals[i]
            _spread(neighbours[i], rule_weights[i], sums)
            for c in range(n):
                features[b, c, first + r] = sums[rows[b, c]] / total if total > 0 else 0.0
            _clear(neighbours[i], sums)
            _spread(neighbours[i], covisit_weights[i], sums)
            own = popularity[i, 1] + smoothing
            for c in range(n):
                both = sums[rows[b, c]]
                if both > 0:
                    shared = both / np.sqrt(own * (popularity[rows[b, c], 1] + smoothing))
                    features[b, c, first + 2 + r] = clip(shared)
            _clear(neighbours[i], sums)


@inline
def _spread(neighbours: Int32s, weights: Floats, sums: Floats) -> None:
    """Write an item's weights to its neighbours' cells."""
    for k in range(len(neighbours)):
        if neighbours[k] < 0:
            break
        sums[neighbours[k]] = weights[k]


@inline
def _clear(neighbours: Int32s, sums: Floats) -> None:
    for k in range(len(neighbours)):
        if neighbours[k] < 0:
            break
        sums[neighbours[k]] = 0


@inline
def look_back(
    rows: Int32s,  # (B, C)
    history: Int32s,  # (B, 32)
    current: Int32s,  # (B,)
    n_session: Int32s,  # (B,)
    sums: Floats,  # scratch
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Fill 4 features: where and how often each candidate was in the session, and how wide that was."""
    for b in range(rows.shape[0]):
        n = count_candidates(rows[b])
        length = min(n_session[b], history.shape[1])
        n_distinct = 0
        for r in range(length):
            if history[b, r] >= 0:
                n_distinct += sums[history[b, r]] == 0
                sums[history[b, r]] += 1
        for c in range(n):
            features[b, c, first + 1] = damp(sums[rows[b, c]])
            features[b, c, first + 2] = rows[b, c] == current[b]
            features[b, c, first + 3] = damp(n_distinct)
        for r in range(length - 1, -1, -1):
            if history[b, r] >= 0:
                sums[history[b, r]] = 1 / (r + 1)
        for c in range(n):
            features[b, c, first] = sums[rows[b, c]]
        for r in range(length):
            if history[b, r] >= 0:
                sums[history[b, r]] = 0
