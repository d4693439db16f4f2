"""A user's own items: what is left to win once they are known."""

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Doubles
from models.offline.backtest.baselines.full_ranking import FullRanking
from models.query.batch import QueryBatch


class OwnItems(FullRanking):
    """The user's own items, the one acted on last first, and nothing else: on some data hard to beat.

    The newest 32 acts count, as profiles keep them; a dislike is none.
    """

    def score(self, batch: QueryBatch, table: ItemTable) -> Doubles:
        """Score items by how lately each was acted on."""
        scores = np.full((batch.n, table.n), -np.inf)
        rows, weights = batch.history.rows, batch.history.weights  # (B, R)
        for back in range(rows.shape[1] - 1, -1, -1):  # the newest last, which then stands
            owners = np.flatnonzero((rows[:, back] >= 0) & (weights[:, back] > 0))
            scores[owners, rows[owners, back]] = -back
        return scores
