"""What a candidate is to the user's taste: interests of the moment and of habit, and their own learner."""

import numpy as np

from models.features.bounds import clip, count_candidates
from models.numeric.arrays import Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import inline


@inline
def _slot(keys: Hash32s, key: int) -> int:
    """Find the key's place in an open-addressing table, or the free place where it belongs."""
    mask = len(keys) - 1
    slot = key & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@inline
def _put(
    keys: Hash32s,  # (H,) written
    weights: Floats,  # (H,) written
    attributes: Hash32s,
    values: Floats,
    start: int,
    stop: int,
) -> float:
    """Write a query's weights into the table; return the sum of their sizes, 1 where that is 0."""
    total = 0.0
    for m in range(start, stop):
        slot = _slot(keys, attributes[m])
        keys[slot] = attributes[m]
        weights[slot] = values[m]
        total += abs(values[m])
    return total if total > 0 else 1.0


@inline
def match_tastes(
    rows: Int32s,  # (B, C)
    item_attributes: Hash32s,  # (N, 8)
    interest_starts: Int64s,  # (B + 1,)
    interest_attributes: Hash32s,
    interests: Floats,  # (M, 2)
    preference_starts: Int64s,  # (B + 1,)
    preference_attributes: Hash32s,
    preferences: Floats,  # (M', 1)
    features: Floats,  # (B, C, F) written
    first: int,
) -> None:
    """Add up the user's weights over the attributes of each candidate."""
    most = 1
    for b in range(rows.shape[0]):
        n_interests = interest_starts[b + 1] - interest_starts[b]
        most = max(most, n_interests + preference_starts[b + 1] - preference_starts[b])
    size = 8
    while size < 8 * most:
        size *= 2
    keys = np.zeros(size, np.uint32)
    weights = np.zeros((size, 3), np.float32)
    carried = np.empty((rows.shape[1], item_attributes.shape[1]), np.uint32)
    for b in range(rows.shape[0]):
        keys[:] = 0
        weights[:] = 0
        total_short = _put(
            keys,
            weights[:, 0],
            interest_attributes,
            interests[:, 0],
            interest_starts[b],
            interest_starts[b + 1],
        )
        total_long = _put(
            keys,
            weights[:, 1],
            interest_attributes,
            interests[:, 1],
            interest_starts[b],
            interest_starts[b + 1],
        )
        _put(
            keys,
            weights[:, 2],
            preference_attributes,
            preferences[:, 0],
            preference_starts[b],
            preference_starts[b + 1],
        )
        n = count_candidates(rows[b])
        for c in range(n):
            for a in range(item_attributes.shape[1]):
                carried[c, a] = item_attributes[rows[b, c], a]
        for c in range(n):
            short = np.float32(0)
            long = np.float32(0)
            preference = np.float32(0)
            for attribute in carried[c]:
                slot = _slot(keys, attribute)
                short += weights[slot, 0]
                long += weights[slot, 1]
                preference += weights[slot, 2]
            features[b, c, first] = clip(float(short / total_short))
            features[b, c, first + 1] = clip(float(long / total_long))
            features[b, c, first + 2] = preference / (1 + abs(preference))
