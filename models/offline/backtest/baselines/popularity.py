"""All-time popularity."""

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Doubles
from models.offline.backtest.baselines.full_ranking import FullRanking
from models.offline.backtest.item_counts import ItemCounts
from models.query.batch import QueryBatch
from models.strategy import Strategy


class Popularity(FullRanking):
    """What was acted on most often since the beginning, the same for everybody but for what the rules forbid.

    An item never acted on is not recommended.
    """

    def __init__(self, name: str, strategy: Strategy, counts: ItemCounts) -> None:
        super().__init__(name, strategy)
        self._counts = counts

    def score(self, batch: QueryBatch, table: ItemTable) -> Doubles:
        """Score items by their counts."""
        counts = self._counts.by_row(table)
        return np.where(counts > 0, counts, -np.inf)[None, :].repeat(batch.n, axis=0)
