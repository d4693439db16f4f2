"""What a candidate source is: a batch of queries in, the best items of each out, and why."""

from abc import ABC, abstractmethod
from typing import ClassVar

from models.candidates.selection import Allowed, Candidates
from models.items import ItemTable
from models.names import ReasonCode, SourceName
from models.numeric.arrays import Int32s, Int64s
from models.phrases import Why
from models.query.batch import QueryBatch


class CandidateSource(ABC):
    """One way to find items worth ranking. A source keeps nothing between two calls."""

    name: ClassVar[SourceName]
    """What a strategy calls it."""
    reason: ClassVar[ReasonCode]
    """Why it proposes what it proposes."""

    @abstractmethod
    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Write up to n items a query into `found`, which has room for n and is empty.

        Only items that `allowed` lets through: a source filters before it cuts, so that the rules never starve a
        slate. Its marks are left as they were found.
        """

    @abstractmethod
    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Write what in the query made each of the (B, L) rows a candidate; -1 is not asked for, and not written.

        The others are asked for because this source proposed them.

        Parameters
        ----------
        causes
            (B, L), all -1. For a source that starts from the history, the row of the item that contributed most; for
            one that starts from interests, the attribute's hash; -1 stays where there is no single cause.
        """

    def why(self, table: ItemTable, cause: int) -> Why:
        """Say what one of its causes stands for."""
        return Why(self.reason, table.ids[cause], table.titles[cause]) if cause >= 0 else Why(self.reason)
