"""What a candidate is beside the user's history: how like it, how often met."""

import numpy as np

from models.features.bounds import clip, count_candidates, damp
from models.numeric.arrays import Floats, Int8s, Int32s, Int64s
from models.numeric.kernels import inline
from models.numeric.prefetch import AHEAD, prefetch_row

N_SIMILAR = 15


@inline
def compare_contents(
    rows: Int32s,  # (B, C)
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    vectors: Int8s,  # (N, D)
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Compare with the sum of the newest items that were not disliked; in integers, so exact in any order."""
    content = np.empty(vectors.shape[1], np.int32)
    for b in range(rows.shape[0]):
        content[:] = 0
        for r in range(N_SIMILAR):
            if history[b, r] >= 0 and history_weights[b, r] >= 0:
                for d in range(len(content)):
                    content[d] += vectors[history[b, r], d]
        squares = 0.0
        for d in range(len(content)):
            squares += np.float64(content[d]) * content[d]
        scale = 1 / (127 * np.sqrt(squares)) if squares > 0 else 0.0
        n = count_candidates(rows[b])
        for c in range(n):
            if c + AHEAD < n:
                prefetch_row(vectors, rows[b, c + AHEAD])
            dot = np.int32(0)
            for d in range(len(content)):
                dot += np.int32(vectors[rows[b, c], d]) * content[d]
            features[b, c, first] = clip(dot * scale)


@inline
def count_contacts(
    rows: Int32s,  # (B, C)
    history: Int32s,  # (B, 32)
    shown_starts: Int64s,  # (B + 1,)
    shown_rows: Int32s,
    shown_counts: Floats,
    contacts: Floats,  # scratch
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Count how often the user has acted on each, then how often it was shown without a reaction."""
    for b in range(rows.shape[0]):
        n = count_candidates(rows[b])
        for row in history[b]:
            if row >= 0:
                contacts[row] += 1
        for c in range(n):
            features[b, c, first] = damp(contacts[rows[b, c]])
        for row in history[b]:
            if row >= 0:
                contacts[row] = 0
        for m in range(shown_starts[b], shown_starts[b + 1]):
            contacts[shown_rows[m]] = shown_counts[m]
        for c in range(n):
            features[b, c, first + 1] = damp(contacts[rows[b, c]])
        for m in range(shown_starts[b], shown_starts[b + 1]):
            contacts[shown_rows[m]] = 0
