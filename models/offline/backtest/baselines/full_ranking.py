"""What every baseline that scores all items shares: the rules, the ranks, the slates."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from models.candidates.selection import usable
from models.items import ItemTable
from models.numeric.arrays import Doubles, Int32s, Int64s
from models.numeric.ids import hash_all
from models.offline.backtest.contender import Predictions
from models.query.batch import QueryBatch
from models.rankers.checkpoint import Checkpoint
from models.strategy import SessionSources, Strategy
from models.user.query import Query

_CELLS = 4_000_000
"""Scores that are held at once."""


class FullRanking(ABC):
    """A contender that ranks all items of the table, but for what the rules forbid.

    An item that scored the same as the right one counts as before it; on slates, ties go by the item's hash.
    """

    def __init__(self, name: str, strategy: Strategy) -> None:
        self.name = name
        self.strategy = strategy

    @abstractmethod
    def score(self, batch: QueryBatch, table: ItemTable) -> Doubles:
        """Score the N items of the table for B queries: (B, N) in an array of its own, -inf for what is not ranked."""

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Answer queries by all scores."""
        rows = table.rows_of(hash_all(list(truth)))
        at_once = max(1, _CELLS // max(table.n, 1))
        parts = [
            self._predict(queries[first : first + at_once], rows[first : first + at_once], table)
            for first in range(0, len(queries), at_once)
        ]
        ranks, slates, are_candidates = zip(*parts, strict=True)
        return Predictions(np.concatenate(ranks), np.concatenate(slates), np.concatenate(are_candidates))

    def adopt(self, checkpoint: Checkpoint | None) -> None:  # noqa: B027 - none of them goes by a ranker
        """Leave everything as it is, whatever ranker was trained."""

    def reweigh(self, by_session: tuple[SessionSources, ...]) -> None:  # noqa: B027 - none of them blends
        """Leave everything as it is, whatever weights were fitted."""

    def server(self, table: ItemTable) -> Callable[[Query], object]:
        """Serve lists, one at a time."""
        return lambda query: self.predict([query], table, [""])

    def _predict(self, queries: Sequence[Query], truth: Int32s, table: ItemTable) -> Predictions:
        batch = QueryBatch.from_queries([replace(query, strategy=self.strategy) for query in queries], table)
        scores = self.score(batch, table)
        scores[:, usable(table, batch.locked, batch.hidden) == 0] = -np.inf
        scores[np.arange(batch.n).repeat(np.diff(batch.marks.starts)), batch.marks.rows] = -np.inf
        ranks = np.zeros(batch.n, np.int64)
        slates = np.full((batch.n, self.strategy.n_items), -1, np.int32)
        for b, row in enumerate(truth.tolist()):
            if row >= 0 and scores[b, row] > -np.inf:
                ranks[b] = (scores[b] >= scores[b, row]).sum()
            best = _best(scores[b], table.hashes, self.strategy.n_items)
            slates[b, : len(best)] = best
        return Predictions(ranks, slates, ranks > 0)


def _best(scores: Doubles, hashes: Int64s, k: int) -> Int64s:
    """Find the k highest of (N,) scores above -inf, ties by hash."""
    k = min(k, len(scores))
    if not k:
        return np.empty(0, np.int64)
    least = np.partition(scores, -k)[-k]
    found = np.flatnonzero((scores >= least) & (scores > -np.inf))
    return found[np.lexsort((hashes[found], -scores[found]))][:k]
