"""A few predictions to look at, as people read them: what came before, what was recommended, what came next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Int32s
from models.numeric.ids import hash64
from models.user.query import Query
from models.user.record import STATE, States

N_SAMPLED = 12
N_BEFORE = 5


class NamedItem(NamedTuple):
    """An item by its names."""

    item_id: str
    title: str
    """Empty where no catalog entry has one."""


class SampledPrediction(NamedTuple):
    """One prediction."""

    at: int
    """Unix milliseconds."""
    before: list[NamedItem]
    """What the slate knew of the user: the items acted on last, at most N_BEFORE, the newest first."""
    slate: list[NamedItem]
    next: NamedItem
    """What the user went on to."""

    @property
    def place(self) -> int:
        """Where the next item stands on the slate, from 1; 0: it does not."""
        return next((n for n, item in enumerate(self.slate, 1) if item.item_id == self.next.item_id), 0)


@dataclass(slots=True)
class PredictionSample:
    """The newest prediction for each of N_SAMPLED users, who are drawn by a hash: the same past shows the same."""

    by_user: dict[int, SampledPrediction] = field(default_factory=dict)

    def offer(self, queries: Sequence[Query], truth: Sequence[str], rows: Int32s, table: ItemTable) -> None:
        """Look at B predictions, in time order.

        Parameters
        ----------
        truth : (B,) the ids of the items that came next.
        rows : (B, k) the slates, -1 where there is no more.
        """
        for b, query in enumerate(queries):
            user = hash64(query.user_id)
            if user not in self.by_user and len(self.by_user) == N_SAMPLED:
                last = max(self.by_user)
                if user > last:
                    continue
                del self.by_user[last]
            self.by_user[user] = _sampled(query, truth[b], rows[b], table)


def _sampled(query: Query, truth: str, rows: Int32s, table: ItemTable) -> SampledPrediction:
    record: States = np.frombuffer(query.state, STATE)
    known = record["recent_items"][0, : min(int(record["n_recent"][0]), N_BEFORE)]
    row = table.row_of(hash64(truth))
    return SampledPrediction(
        query.at,
        _named(table.rows_of(known.astype(np.int64)), table),
        _named(rows, table),
        NamedItem(truth, table.titles[row] if row >= 0 else ""),
    )


def _named(rows: Int32s, table: ItemTable) -> list[NamedItem]:
    return [NamedItem(table.ids[row], table.titles[row]) for row in rows.tolist() if row >= 0]
