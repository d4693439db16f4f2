"""Habits: what people do another time, from what this user did lately, in this session and before it."""

import numpy as np

from models.candidates.damped import N_LAST, explain_damped, sum_damped
from models.candidates.neighbours import habits_of
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates
from models.items import ItemTable
from models.numeric.arrays import Floats, Int32s, Int64s
from models.query.batch import QueryBatch

_RECENCY: Floats = (1 / np.arange(1, N_LAST + 1)).astype(np.float32)
_N_ROOTS = 2
"""The fourth root of the candidate's visits divides: the square root would leave little but what is rare."""


class Habits(CandidateSource):
    """What comes with an item in other sessions, rather after it than before, damped by how often each is seen at all.

    score(j) = sum over r = 0..14 of 1 / (r + 1) * (H_ij + H_ji / 2) / ((n_i + 5)^(1/2) * (n_j + 5)^(1/4)), where i is
    the r-th newest item, of this session or an earlier one, and n the decayed visits. H_ij adds up, over users who came
    to j in a later session than to i, 1 / acts back, less the longer it took (`models.counts.pairs.add_up`). Disliked
    items do not count. Who never comes back teaches no habits. A first-order chain between baskets as in Rendle,
    Freudenthaler, Schmidt-Thieme (2010), Factorizing personalized Markov chains for next-basket recommendation.
    """

    name = "habits"
    reason = "often_later"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose what others came to another time."""
        habits, sums = habits_of(table), scratch(table.n).sums
        sum_damped(batch.history, batch.visit, _RECENCY, habits, habits.rules, _N_ROOTS, allowed, sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item that the strongest habit begins at."""
        habits = habits_of(table)
        explain_damped(batch.history, batch.visit, _RECENCY, habits, habits.rules, rows, causes)
