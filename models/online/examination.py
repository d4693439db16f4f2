"""How probable it is that somebody looks at a position of a slate, learned from the clicks themselves.

Whoever shows the best item first sees it clicked most, because it is the best and because it is first. The two are told
apart by slates that put like items at different positions: by the exploration slot, by exchanged neighbours, and by how
much better the candidates of one query are than those of another.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from models.names import FEATURES
from models.numeric.arrays import Doubles, Int64s
from models.rankers.inputs import Labelled

N_POSITIONS = 32
"""Positions that are told apart; those below have the last one's probability."""
N_SWEEPS = 2
"""Newton steps on each batch."""
MEMORY_BATCHES = 256
"""Batches after which what was learned counts half."""
PRIOR_STEEPNESS = 0.5
"""Before anything is known, position k (from 0) is looked at with probability (k + 1) ** -0.5."""
LARGEST = 10.0
"""Standard deviations from its mean that a feature is taken for at most."""
_PRIOR_LOG_CLICKS = -3.0
_PRECISIONS = 4.0, 10.0, 1.0, 0.01
"""Of the prior: of the steepness, of each position's deviation from it, of each feature's weight, of the intercept."""


class ExaminationState(NamedTuple):
    """What `Examination` goes on from; arrays as float64."""

    n_batches: int
    n_features: int
    weights: bytes
    precision: bytes
    mean: bytes
    scale: bytes


class Examination:
    """Learns the examination probability of each position beside how likely an item of some features is clicked.

    The examination hypothesis (Richardson et al. 2007): the expected clicks on an item x at position k are e(k) r(x).
    With log e(k) = -s log(k + 1) + b_k and log r(x) = w x + c that is a Poisson regression on the clicks. It is
    learned batch by batch as an extended Kalman filter does (Fahrmeir 1992): what is known from earlier batches is a
    normal prior of the next one. Older batches fade, the first ones fastest, as what was known by then was little.

    The steepness s smooths over positions that have seldom been clicked; e(0) is 1 by definition.

    References
    ----------
    M. Richardson, E. Dominowska, R. Ragno. Predicting clicks: estimating the click-through rate for new ads. WWW 2007.
    L. Fahrmeir. Posterior mode estimation by extended Kalman filtering for multivariate dynamic generalized linear
    models. JASA 1992. X. Wang et al. Position bias estimation for unbiased learning to rank in personal search.
    WSDM 2018, who fit the same two factors by expectation maximisation.
    """

    def __init__(self, state: ExaminationState | None = None) -> None:
        n = len(FEATURES)
        steepness, position, feature, intercept = _PRECISIONS
        self._prior_precision = np.r_[
            steepness, np.full(N_POSITIONS, position), np.full(n, feature), intercept
        ]  # (1 + P + F + 1,)
        self._prior = np.r_[PRIOR_STEEPNESS, np.zeros(N_POSITIONS + n), _PRIOR_LOG_CLICKS]
        self.n_batches = 0
        self._weights = self._prior.copy()
        self._precision = np.diag(self._prior_precision)
        self._mean, self._scale = np.zeros(n), np.ones(n)
        if state is not None and state.n_features == n:
            size = len(self._prior)
            self.n_batches = state.n_batches
            self._weights = np.frombuffer(state.weights).copy()
            self._precision = np.frombuffer(state.precision).copy().reshape(size, size)
            self._mean, self._scale = np.frombuffer(state.mean).copy(), np.frombuffer(state.scale).copy()

    @property
    def by_position(self) -> Doubles:
        """(P,) how probable it is that each position is looked at, relative to the first; at most 1."""
        steps = np.log1p(np.arange(N_POSITIONS))
        logs = -self._weights[0] * steps + self._weights[1 : 1 + N_POSITIONS]
        return np.asarray(np.minimum(np.exp(logs - logs[0]), 1.0), np.float64)

    def at(self, positions: Int64s) -> Doubles:
        """Return the probabilities of positions, from 0, of any shape."""
        return np.asarray(self.by_position[np.minimum(positions, N_POSITIONS - 1)])

    def learn(self, labelled: Labelled) -> None:
        """Learn from what became of a batch of slates."""
        present, positions = labelled.present, labelled.positions
        assert positions is not None  # noqa: S101 - `collate` lays them out
        features = np.nan_to_num(labelled.inputs.features[present].astype(np.float64), posinf=0.0, neginf=0.0)  # (M, F)
        if not len(features):
            return
        if self.n_batches == 0:
            spread = features.std(axis=0)
            self._mean, self._scale = features.mean(axis=0), np.where(spread > 1e-6, spread, 1.0)
        self.n_batches += 1
        rows = self._rows(positions[present], features)
        clicks = (labelled.labels[present] > 0).astype(np.float64)
        kept = min(0.5 ** (1 / MEMORY_BATCHES), 1 - 1 / self.n_batches)
        before = kept * self._precision + (1 - kept) * np.diag(self._prior_precision)
        start = self._weights
        for _ in range(N_SWEEPS):
            expected = np.exp(np.minimum(rows @ self._weights, 0.0))
            after = before + (rows * expected[:, None]).T @ rows
            slope = rows.T @ (clicks - expected) - before @ (self._weights - start)
            self._weights = self._weights + np.linalg.solve(after, slope)
        self._precision = after

    @property
    def state(self) -> ExaminationState:
        """What `__init__` takes to go on from here."""
        return ExaminationState(
            self.n_batches,
            len(FEATURES),
            self._weights.tobytes(),
            self._precision.tobytes(),
            self._mean.tobytes(),
            self._scale.tobytes(),
        )

    def _rows(self, positions: Int64s, features: Doubles) -> Doubles:
        """Lay out what the expected clicks depend on: (M, 1 + P + F + 1)."""
        capped = np.minimum(positions, N_POSITIONS - 1)
        rows = np.zeros((len(features), len(self._prior)))
        rows[:, 0] = -np.log1p(capped)
        rows[np.arange(len(rows)), 1 + capped] = capped > 0
        # What no slate of the first batch came near to must not outweigh all others.
        rows[:, 1 + N_POSITIONS : -1] = np.clip((features - self._mean) / self._scale, -LARGEST, LARGEST)
        rows[:, -1] = 1.0
        return rows


def rounded(probabilities: Iterable[float]) -> tuple[float, ...]:
    """Round for people and for the wire."""
    return tuple(round(float(probability), 4) for probability in probabilities)
