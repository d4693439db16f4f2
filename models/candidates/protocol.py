"""What a candidate source is: a batch of queries in, the best items of each out, and why."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Floats, Int32s, Int64s
from models.query.batch import QueryBatch


@dataclass(frozen=True, slots=True)
class Candidates:
    """The items that one source proposes to each query."""

    rows: Int32s
    """(B, n) best first, ties by the item's hash; -1 where there is no more."""
    scores: Floats
    """(B, n) above 0 in the source's own units; 0 where there is no item."""

    @classmethod
    def empty(cls, n_queries: int, n: int) -> "Candidates":
        """Make room for n candidates a query."""
        return cls(np.full((n_queries, n), -1, np.int32), np.zeros((n_queries, n), np.float32))


class CandidateSource(Protocol):
    """One way to find items worth ranking. A source keeps nothing between two calls."""

    @property
    def name(self) -> SourceName:
        """What a strategy calls it."""

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Write up to n items a query into `found`, which has room for n and is empty.

        Only items that are usable (`states`, (N,), see `models.candidates.selection`; marks are left as they
        were found) and that the query's own marks do not forbid: a source filters before it cuts, so that the
        rules never starve a slate.
        """

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:
        """Say what in the query made each of the (B, K) rows a candidate; rows of -1 are not asked for.

        The others are asked for because this source proposed them.

        Returns
        -------
        (B, K) int64: for a source that starts from the history, the row of the item that contributed most; for one
        that starts from interests, the attribute's hash; -1 where there is no single cause.
        """
