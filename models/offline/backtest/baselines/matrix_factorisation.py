"""Matrix factorisation of implicit feedback by alternating least squares."""

from typing import Any

import numpy as np

from models.numeric.arrays import Floats
from models.offline.backtest.baselines.from_histories import FromHistories
from models.offline.backtest.config import Progress
from models.offline.backtest.training_set import TrainingSet
from models.strategy import Strategy


class MatrixFactorisation(FromHistories):
    """A vector for each user and each item, whose product says whether the user acts on the item.

    They minimise sum_ui c_ui (p_ui - x_u'y_i)^2 + l2 (sum_u |x_u|^2 + sum_i |y_i|^2), p_ui being 1 where u acted on i
    with c_ui = 1 + alpha, else 0 with c_ui = 1. With the items' vectors fixed, each user's is a least-squares solution,
    and the other way round, in turns; so the vector of a user who was not there follows from the history alone.
    Hu, Koren and Volinsky (2008), Collaborative filtering for implicit feedback datasets.

    Parameters
    ----------
    n_factors : F.
    l2 : how far vectors are drawn to 0.
    alpha : how much more an act says than that there was none.
    n_rounds : how often both sides are solved.
    seed : of the vectors to begin with.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        train: TrainingSet,
        progress: Progress,
        *,
        n_factors: int = 64,
        l2: float = 1.0,
        alpha: float = 10.0,
        n_rounds: int = 10,
        seed: int = 0,
    ) -> None:
        interactions = train.interactions()
        super().__init__(name, strategy, interactions.items)
        self._l2, self._alpha = l2, alpha
        by_user, by_item = interactions.matrix, interactions.matrix.T.tocsr()
        rng = np.random.default_rng(seed)
        items: Floats = rng.normal(0, 1 / n_factors, (len(self._items), n_factors)).astype(np.float32)
        for number in range(n_rounds):
            progress(f"fitting {name}", number, n_rounds)
            items = self._solve(by_item, self._solve(by_user, items))
        progress(f"fitting {name}", n_rounds, n_rounds)
        self._vectors = items  # (I, F)

    def score_items(self, histories: Any) -> Floats:
        """Fold each history in, and multiply."""
        scores: Floats = self._solve(histories, self._vectors) @ self._vectors.T
        return scores

    def _solve(self, matrix: Any, others: Floats) -> Floats:
        """Solve one side: (R, F) vectors of the rows of an (R, C) matrix, given the (C, F) of its columns."""
        everybody = others.T @ others + self._l2 * np.eye(others.shape[1], dtype=np.float32)
        vectors = np.zeros((matrix.shape[0], others.shape[1]), np.float32)
        for row in range(matrix.shape[0]):
            acted_on = others[matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]]  # (M, F)
            if len(acted_on):
                vectors[row] = np.linalg.solve(
                    everybody + self._alpha * acted_on.T @ acted_on, (1 + self._alpha) * acted_on.sum(axis=0)
                )
        return vectors
