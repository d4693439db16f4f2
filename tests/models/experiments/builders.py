"""Users' values and the sums of arms, with defaults."""

import numpy as np

from models.experiments.judge.moments import Estimate, estimate, gram
from models.numeric.arrays import Doubles


def values_of(
    numerators: Doubles,
    denominators: Doubles | float = 1.0,
    before: Doubles | float = 0.0,
    before_denominators: Doubles | float = 0.0,
) -> Doubles:
    """(N, 4) of N users."""
    return np.stack(np.broadcast_arrays(numerators, denominators, before, before_denominators), axis=-1).astype(float)


def sums_of(values: Doubles, weights: Doubles | float = 1.0) -> Doubles:
    """(2, 5, 5) of (N, 4) values."""
    weights = np.broadcast_to(weights, len(values))
    return np.tensordot([weights, weights**2], gram(values), axes=1)


def estimates(*arms: Doubles) -> list[Estimate]:
    """Of arms of (N, 4) values, with all of them together for CUPED."""
    sums = [sums_of(arm) for arm in arms]
    return [estimate(arm, sum(sums[1:], sums[0])) for arm in sums]


def an_estimate(mean: float, variance: float = 1e-6, n: float = 1_000) -> Estimate:
    users, spread = np.array(float(n)), np.array(variance)
    return Estimate(users, np.array(mean), spread, spread, users)
