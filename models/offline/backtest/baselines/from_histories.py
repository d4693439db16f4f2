"""What baselines share that learn who acted on what, and answer whoever acted on these items."""

from abc import abstractmethod
from typing import Any

import numpy as np
import scipy.sparse

from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int64s
from models.offline.backtest.baselines.full_ranking import FullRanking
from models.query.batch import QueryBatch
from models.strategy import Strategy


class FromHistories(FullRanking):
    """A model of I items that scores them for anybody by the items of the history, seen in training or not.

    The newest 32 acts count, as profiles keep them; a dislike is none. Items that it does not know are not ranked.

    Parameters
    ----------
    items : (I,) hashes of the items that it was trained on.
    """

    def __init__(self, name: str, strategy: Strategy, items: Int64s) -> None:
        super().__init__(name, strategy)
        self._items = items

    @abstractmethod
    def score_items(self, histories: Any) -> Floats:
        """Score the I items for each of B histories, a (B, I) scipy.sparse.csr_matrix of 0 and 1: (B, I)."""

    def score(self, batch: QueryBatch, table: ItemTable) -> Doubles:
        """Score the items of the table that the model knows."""
        rows, columns = table.derived(("columns", self.name), lambda: self._columns(table))
        acted_on = np.where(batch.history.weights > 0, columns[batch.history.rows], -1)  # (B, R)
        owners, places = np.nonzero(acted_on >= 0)
        histories = scipy.sparse.csr_matrix(
            (np.ones(len(owners), np.float32), (owners, acted_on[owners, places])), (batch.n, len(self._items))
        )
        histories.data[:] = 1  # an item met twice counts once
        scores = np.full((batch.n, table.n), -np.inf)
        scores[:, rows] = self.score_items(histories)[:, columns[rows]]
        return scores

    def _columns(self, table: ItemTable) -> tuple[Int64s, Int64s]:
        """Find the rows of known items, and (N + 1,) each row's column; -1 is none, as of row -1."""
        item_rows = table.rows_of(self._items)  # (I,) -1 where the table has let go of one
        columns = np.full(table.n + 1, -1, np.int64)
        columns[item_rows] = np.arange(len(self._items))
        columns[-1] = -1
        return np.flatnonzero(columns >= 0), columns
