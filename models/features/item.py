"""What a candidate is by itself: how wanted, how new, how dear."""

import numpy as np

from models.features.bounds import clip, count_candidates, damp
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline

_DAY_MS = 86_400_000


@inline
def describe_items(
    rows: Int32s,  # (B, C)
    at: Int64s,  # (B,)
    mean_price: Floats,  # (B,)
    popularity: Floats,  # (N, 2) landmark units
    visit: Doubles,  # (B, 2) what a visit at the query's moment weighs
    half_lives: float,  # long / short
    created_at: Int64s,  # (N,)
    price: Floats,  # (N,) nan unknown
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Fill 6 features, from the column `first` on."""
    counts = np.empty((rows.shape[1], 2), np.float32)
    born = np.empty(rows.shape[1], np.int64)
    cost = np.empty(rows.shape[1], np.float32)
    for b in range(rows.shape[0]):
        n = count_candidates(rows[b])
        # Gathered first, in short loops, so that the processor waits for many far rows at once.
        for c in range(n):
            counts[c, 0], counts[c, 1] = popularity[rows[b, c], 0], popularity[rows[b, c], 1]
        for c in range(n):
            born[c], cost[c] = created_at[rows[b, c]], price[rows[b, c]]
        for c in range(n):
            moment = counts[c, 0] / visit[b, 0]
            habit = counts[c, 1] / visit[b, 1]
            rate = moment * half_lives
            features[b, c, first] = damp(moment)
            features[b, c, first + 1] = damp(habit)
            features[b, c, first + 2] = clip((rate - habit) / (rate + habit + 1))
            if born[c] > 0:
                features[b, c, first + 3] = damp((at[b] - born[c]) / _DAY_MS)
            features[b, c, first + 4] = counts[c, 1] <= 0
            if cost[c] > 0 and mean_price[b] > 0:
                features[b, c, first + 5] = clip(np.log2(cost[c] / mean_price[b]) / 4)
