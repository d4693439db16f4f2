"""EASE: a linear model from all items to each, in closed form."""

from typing import Any

import numpy as np
import scipy.linalg

from models.numeric.arrays import Floats
from models.offline.backtest.baselines.from_histories import FromHistories
from models.offline.backtest.config import Progress
from models.offline.backtest.training_set import TrainingSet
from models.strategy import Strategy

MAX_ITEMS = 15_000
"""Items that it is trained on at most, those of most users: 900 MB, and as much again while they are solved for."""


class Ease(FromHistories):
    """Scores x B of a history x, where B predicts each item of the training histories X from the others of it.

    B minimises |X - X B|^2 + l2 |B|^2 with a diagonal of zeros: with P = (X'X + l2 I)^-1, B_ij = -P_ij / P_jj off the
    diagonal. Steck (2019), Embarrassingly shallow autoencoders for sparse data.

    Parameters
    ----------
    l2 : how far weights are drawn to 0.
    max_items : of a larger catalog only the items of most users are learned, and ranked.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        train: TrainingSet,
        progress: Progress,
        l2: float = 100.0,
        max_items: int = MAX_ITEMS,
    ) -> None:
        interactions = train.interactions(max_items)
        super().__init__(name, strategy, interactions.items)
        what = f"fitting {name} to {len(interactions.items):,} of {train.n_items:,} items"
        progress(what, 0, 1)
        self._weights = _weights(interactions.matrix, l2)
        progress(what, 1, 1)

    def score_items(self, histories: Any) -> Floats:
        """Add up what each item of a history says of the others."""
        scores: Floats = histories @ self._weights
        return scores


def _weights(matrix: Any, l2: float) -> Floats:
    """Return B, (I, I), of (U, I) training histories; in place as far as can be, since it is large."""
    weights = (matrix.T @ matrix).toarray()
    diagonal = np.arange(len(weights))
    weights[diagonal, diagonal] += l2
    # Transposed, which changes nothing here, it has the order that LAPACK works on in place.
    weights = scipy.linalg.inv(weights.T, overwrite_a=True, check_finite=False)
    weights /= -weights[diagonal, diagonal]
    weights[diagonal, diagonal] = 0
    return np.asarray(weights, np.float32)
