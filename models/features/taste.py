"""What a candidate is beside the user's interests: the short-term, the long-term, and what their own learner says."""

import numpy as np

from models.features.bounds import clip, count_candidates
from models.names import FEATURES, TASTE_FEATURES
from models.numeric.arrays import Floats, Hash32s, Int32s
from models.numeric.kernels import inline
from models.query.ragged import Tastes
from models.query.users import LONG, SHORT

_INTEREST_SHORT, _INTEREST_LONG, _PREFERENCE = map(FEATURES.index, TASTE_FEATURES)
_LEARNED = 2
"""Column of the learner's weights, behind SHORT and LONG."""
_N_WEIGHTS = 3
_SLOTS_PER_KEY = 8
"""So sparse a table that a look-up rarely meets another key."""


@inline
def match_tastes(
    rows: Int32s,  # (B, C)
    item_attributes: Hash32s,  # (N, 8)
    interests: Tastes,  # W = 2
    preferences: Tastes,  # W = 1
    features: Floats,  # (B, C, F) written
) -> None:
    """Add up the user's weights over the attributes of each candidate."""
    most = 1
    for b in range(len(rows)):
        n_interests = interests.starts[b + 1] - interests.starts[b]
        most = max(most, n_interests + preferences.starts[b + 1] - preferences.starts[b])
    size = _SLOTS_PER_KEY
    while size < _SLOTS_PER_KEY * most:
        size *= 2
    keys = np.zeros(size, np.uint32)
    weights = np.zeros((size, _N_WEIGHTS), np.float32)
    carried = np.empty((rows.shape[1], item_attributes.shape[1]), np.uint32)
    for b in range(len(rows)):
        keys[:] = 0
        weights[:] = 0
        total_short = _put(keys, weights[:, SHORT], interests, SHORT, b)
        total_long = _put(keys, weights[:, LONG], interests, LONG, b)
        _put(keys, weights[:, _LEARNED], preferences, 0, b)
        n = count_candidates(rows[b])
        for c in range(n):
            for a in range(item_attributes.shape[1]):
                carried[c, a] = item_attributes[rows[b, c], a]
        for c in range(n):
            short = np.float32(0)
            long = np.float32(0)
            preference = np.float32(0)
            for attribute in carried[c]:
                slot = _slot_of(keys, attribute)
                short += weights[slot, SHORT]
                long += weights[slot, LONG]
                preference += weights[slot, _LEARNED]
            features[b, c, _INTEREST_SHORT] = clip(float(short / total_short))
            features[b, c, _INTEREST_LONG] = clip(float(long / total_long))
            features[b, c, _PREFERENCE] = preference / (1 + abs(preference))


@inline
def _put(
    keys: Hash32s,  # (H,) written
    weights: Floats,  # (H,) written
    tastes: Tastes,
    column: int,  # of the tastes' weights
    b: int,
) -> float:
    """Write query b's weights into the table; return the sum of their sizes, 1 where that is 0."""
    total = 0.0
    for m in range(tastes.starts[b], tastes.starts[b + 1]):
        slot = _slot_of(keys, tastes.attributes[m])
        keys[slot] = tastes.attributes[m]
        weights[slot] = tastes.weights[m, column]
        total += abs(tastes.weights[m, column])
    return total if total > 0 else 1.0


@inline
def _slot_of(keys: Hash32s, key: int) -> int:
    """Find the key's slot in an open-addressing table, or the free one where it belongs."""
    mask = len(keys) - 1
    slot = key & mask
    while keys[slot] != 0 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot
