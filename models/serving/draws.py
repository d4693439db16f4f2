"""What is left to chance on a slate: draws by scores on a scale of their own, and neighbours that change places."""

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Bools, Doubles, Floats, Int32s
from models.numeric.kernels import inline

_NO_SPREAD = 1e-7
"""Standard deviation of scores, over the largest, that is rounding and no difference."""


@inline
def random(state: NDArray[np.uint64]) -> float:
    """Draw from [0, 1) by SplitMix64 (Steele, Lea, Flood 2014); moves the one-cell state on."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * 2.0**-53


@inline
def write_logits(scores: Floats, temperature: float, logits: Floats) -> None:
    """Write the (C,) logits of a softmax over scores: (score - mean) / (standard deviation * temperature).

    So a temperature means the same of any ranker: scores that are shifted or stretched give the same logits. Scores
    that are all the same give zeros.
    """
    n = len(scores)
    largest = 0.0
    for c in range(n):
        largest = max(largest, abs(np.float64(scores[c])))
    unit = largest if largest > 0 else 1.0  # the squares of very large scores would be infinite
    mean = 0.0
    for c in range(n):
        mean += scores[c] / unit / n
    variance = 0.0
    for c in range(n):
        variance += (scores[c] / unit - mean) ** 2 / n
    spread = np.sqrt(variance)
    for c in range(n):
        logits[c] = (scores[c] / unit - mean) / (spread * temperature) if spread > _NO_SPREAD else 0.0


@inline
def draw(
    logits: Floats,  # (C,)
    free: Bools,  # (C,) who may be drawn
    state: NDArray[np.uint64],  # (1,) moved on
) -> tuple[int, float]:
    """Draw one candidate by softmax; return its position and probability, (-1, 0) where nobody is free."""
    top = -np.inf
    for c in range(len(logits)):
        if free[c] and logits[c] > top:
            top = logits[c]
    total = 0.0
    for c in range(len(logits)):
        if free[c]:
            total += np.exp(logits[c] - top)
    if total == 0:
        return -1, 0.0
    goal = random(state) * total
    last, share = -1, 0.0
    passed = 0.0
    for c in range(len(logits)):
        if free[c]:
            weight = np.exp(logits[c] - top)
            if weight == 0:
                continue
            last, share = c, weight / total
            passed += weight
            if passed > goal:
                break
    return last, share


@inline
def exchange(
    share: float,
    n: int,
    positions: Int32s,  # (L,) the first n are sure; two of them may change places
    propensities: Doubles,  # (L,) written: of each item, given those before it
    state: NDArray[np.uint64],  # (1,) moved on
) -> None:
    """Exchange two neighbours in a share of the slates: the pair k of n - 1 with probability share / (n - 1)."""
    n_pairs = n - 1
    if share <= 0 or n_pairs < 1:
        return
    goal = random(state) * n_pairs / share
    chosen = int(goal) if goal < n_pairs else n_pairs
    each = share / n_pairs
    for k in range(min(chosen, n_pairs)):
        # None of the pairs before was exchanged, nor is this one.
        propensities[k] = 1 - each / (1 - each * k)
    if chosen < n_pairs:
        propensities[chosen] = each / (1 - each * chosen)
        positions[chosen], positions[chosen + 1] = positions[chosen + 1], positions[chosen]
