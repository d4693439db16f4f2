"""Traffic shares by Thompson sampling: a variant gets as much as it is probable that it is the best, within bounds."""

import numpy as np

from models.experiments.judge.moments import Estimate
from models.numeric.arrays import Doubles

N_DRAWS = 10_000


def probability_best(arms: Estimate, seed: int, better: int = 1) -> Doubles:
    """Estimate how probable it is that each arm is the best: (V,), from draws of each arm's normal posterior.

    An arm of which nothing is known yet has an infinite variance; then all are equally probable.

    Parameters
    ----------
    arms : of shape (V,).
    seed : the same seed gives the same shares.
    better : 1 where more of the metric is good, -1 where less is.
    """
    n_arms = len(arms.mean)
    if not np.isfinite(arms.variance).all():
        return np.full(n_arms, 1 / n_arms)
    draws = np.random.default_rng(seed).standard_normal((N_DRAWS, n_arms))
    values = better * arms.mean + np.sqrt(arms.variance) * draws
    return np.bincount(values.argmax(axis=1), minlength=n_arms) / N_DRAWS


def within_bounds(shares: Doubles, low: float, high: float) -> Doubles:
    """Find the shares within [low, high] that are nearest to the given ones and sum to 1.

    The Euclidean projection: all are shifted by one amount and cut at the bounds.

    Raises
    ------
    ValueError : no shares within these bounds sum to 1.
    """
    n = len(shares)
    if not 0 <= low <= 1 / n <= high <= 1:
        raise ValueError(f"{n} shares within [{low}, {high}] cannot sum to 1: let low be at most 1/{n} <= high")
    # The sum rises with the shift from n low to n high, in straight pieces between where one share meets a bound.
    shifts = np.sort(np.concatenate([low - shares, high - shares]))
    sums = np.clip(shares + shifts[:, None], low, high).sum(axis=1)
    return np.asarray(np.clip(shares + np.interp(1.0, sums, shifts), low, high))
