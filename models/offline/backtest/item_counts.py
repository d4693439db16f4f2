"""How often each item was acted on so far: the all-time popularity, and the yardstick of novelty."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Doubles, Int32s, Int64s
from models.numeric.ids import hash64


class ItemCounts:
    """Counts acts by item, and lays the counts out by the rows of whatever table is asked about."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._table: ItemTable | None = None
        self._by_row: Int64s = np.zeros(0, np.int64)
        self._n_laid = 0
        self._n_released = 0
        self.total = 0

    @property
    def n_items(self) -> int:
        """Items that were ever acted on."""
        return len(self._counts)

    def add(self, item_ids: Iterable[str]) -> None:
        """Count an act on each of the items."""
        for item_id in item_ids:
            item = hash64(item_id)
            self._counts[item] += 1
            self.total += 1
            if self._table is not None:
                row = int(self._table.rows_of(np.array([item], np.int64))[0])
                if 0 <= row < self._n_laid:
                    self._by_row[row] += 1

    def by_row(self, table: ItemTable) -> Int64s:
        """(N,) acts on each item of the table."""
        if table is not self._table or table.n_released != self._n_released:
            self._table, self._n_released, self._n_laid = table, table.n_released, 0
        if self._n_laid < table.n:
            if len(self._by_row) < table.n:
                self._by_row = np.resize(self._by_row, 2 * table.n)
            new = table.hashes[self._n_laid : table.n].tolist()
            self._by_row[self._n_laid : table.n] = [self._counts.get(item, 0) for item in new]
            self._n_laid = table.n
        return self._by_row[: table.n]

    def novelty_of(self, rows: Int32s, table: ItemTable) -> Doubles:
        """(B,) mean of -log2 of the share of all acts, over the (B, k) recommended rows; -1 is no item.

        Each item counts as acted on once more than it was, so that a new one is novel, not infinitely so. Zhou et al.
        (2010), Solving the apparent diversity-accuracy dilemma of recommender systems, call it self-information.
        """
        counts = self.by_row(table)
        if not len(counts):
            return np.zeros(len(rows))
        shares = (counts[rows] + 1) / (self.total + len(counts))
        bits = np.where(rows >= 0, -np.log2(shares), 0.0)
        mean: Doubles = bits.sum(axis=1) / np.maximum((rows >= 0).sum(axis=1), 1)
        return mean
