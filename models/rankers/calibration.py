"""Calibration: what became of what was predicted, and the correction that follows."""

import numpy as np
import torch
from torch import Tensor

from models.names import STAGES
from models.numeric.arrays import Bools, Doubles, Floats, Int64s

EDGES: Doubles = np.arange(-12.0, 6.01, 0.5)
"""Logits between which predictions are added up: from one in 160,000 to all but certain."""
HALF_LIFE = 5_000
"""Items shown after which what became of earlier ones counts half: some 500 slates."""
_PRIOR: Doubles = np.array([20.0, 1.0])
"""Precision of the normal prior of slope and intercept, around what changes nothing."""
_SLOPES = 0.2, 5.0
_START: Doubles = np.array([1.0, 0.0])
_N_SWEEPS = 50
_SMALLEST_STEP = 1e-7


class Calibration:
    """Platt's scaling of each stage's logit, learned as outcomes come: P = sigmoid(a logit + b).

    Predictions are added up in bins of their logit, and fade. So what is kept does not grow, and the fit costs the
    same whatever was seen. It is maximum likelihood with a weak prior that holds a = 1 and b = 0 until there is
    something to say.

    References
    ----------
    J. Platt. Probabilistic outputs for support vector machines. 1999. A. Niculescu-Mizil, R. Caruana. Predicting good
    probabilities with supervised learning. ICML 2005.
    """

    def __init__(self) -> None:
        self.sums: Doubles = np.zeros((len(STAGES), len(EDGES) + 1, 3))
        """(S, N, 3) a stage and a bin: predictions, their logits, how many came true; all faded."""

    @property
    def knows_all(self) -> bool:
        """Whether of every stage something is known."""
        return bool(self.sums[..., 0].any(axis=1).all())

    @property
    def is_known(self) -> bool:
        """Whether anything was predicted yet of which it is known what became."""
        return bool(self.sums[..., 0].any())

    @property
    def rates(self) -> Doubles:
        """(S,) how often each stage came about, whatever was predicted; one half before anything is known."""
        n, came_true = self.sums[..., 0].sum(axis=1), self.sums[..., 2].sum(axis=1)
        rates: Doubles = (came_true + 0.5) / (n + 1.0)
        return rates

    def add(self, logits: Floats, stages: Bools, known: Bools) -> None:
        """Take (M, S) logits as they were before these outcomes taught anything, and the stages that came about.

        Parameters
        ----------
        known : (M, S) where it is known whether the stage came about.
        """
        for s in range(len(STAGES)):
            chosen = known[:, s]
            values, bins = logits[chosen, s].astype(np.float64), bins_of(logits[chosen, s])
            came_true = stages[chosen, s].astype(np.float64)
            self.sums[s] *= 0.5 ** (len(values) / HALF_LIFE)
            for column, weights in enumerate((np.ones(len(values)), values, came_true)):
                self.sums[s, :, column] += np.bincount(bins, weights, len(EDGES) + 1)

    def deviations(self, calibration: Doubles) -> Doubles:
        """Say by how many standard deviations each stage came about otherwise than (S, 2) calibrations said: (S,)."""
        expected, spread = self._expected(calibration)
        found: Doubles = np.divide(
            np.abs(self.sums[..., 2].sum(axis=1) - expected), spread, out=np.zeros_like(spread), where=spread > 0
        )
        return found

    def gaps(self, calibration: Doubles) -> Doubles:
        """Say by what share of what was said each stage came about otherwise: (S,)."""
        expected, _ = self._expected(calibration)
        found: Doubles = np.abs(self.sums[..., 2].sum(axis=1) - expected) / np.maximum(expected, 1e-9)
        return found

    def _expected(self, calibration: Doubles) -> tuple[Doubles, Doubles]:
        """Return how often each stage was to come about, and the standard deviation of that: (S,) each."""
        n, logits = self.sums[..., 0], self.sums[..., 1]  # (S, N)
        means = logits / np.maximum(n, 1e-9)
        chances = 1 / (1 + np.exp(-(means * calibration[:, :1] + calibration[:, 1:])))
        return (n * chances).sum(axis=1), np.sqrt((n * chances * (1 - chances)).sum(axis=1))

    def fit(self) -> Tensor:
        """Return (S, 2) slopes and intercepts, by Newton's method on the bins' means."""
        return torch.from_numpy(np.array([_fit(of_stage) for of_stage in self.sums], np.float32))


def bins_of(logits: Floats) -> Int64s:
    """Find the bins of (M,) logits among EDGES: (M,)."""
    return np.searchsorted(EDGES, logits, side="right")


def _fit(sums: Doubles) -> Doubles:
    """Fit slope and intercept to (N, 3) sums: the maximum of a concave function, the slope within its bounds."""
    held = sums[:, 0] > 0
    n, came_true = sums[held, 0], sums[held, 2]
    rows = np.stack([sums[held, 1] / n, np.ones(len(n))], axis=1)  # (N, 2)
    weights = _climb(n, came_true, rows, _START, np.array([True, True]))
    slope = np.clip(weights[0], *_SLOPES)
    if slope != weights[0]:
        weights = _climb(n, came_true, rows, np.array([slope, weights[1]]), np.array([False, True]))
    return weights


def _climb(n: Doubles, came_true: Doubles, rows: Doubles, start: Doubles, free: Bools) -> Doubles:
    """Climb by Newton's steps, each halved until it leads upwards; what is not free stays where it starts."""

    def height(weights: Doubles) -> float:
        logits = rows @ weights
        return float(came_true @ logits - n @ np.logaddexp(0, logits) - _PRIOR @ (weights - _START) ** 2 / 2)

    weights, reached = start, height(start)
    for _ in range(_N_SWEEPS):
        expected = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (came_true - n * expected) - _PRIOR * (weights - _START)
        curvature = (rows.T * (n * expected * (1 - expected))) @ rows + np.diag(_PRIOR)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], slope[free])
        while (found := height(weights + step)) < reached and np.abs(step).max() > _SMALLEST_STEP:
            step = step / 2
        if np.abs(step).max() <= _SMALLEST_STEP:
            break
        weights, reached = weights + step, found
    return weights
