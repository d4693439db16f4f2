"""Habits: what people do another time, from what this user did lately, in this session and before it."""

import numpy as np

from models.candidates.covisitation import SMOOTHING
from models.candidates.neighbours import Links, find_strongest, habits_of, sum_neighbours
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, propose, take_sums
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch
from models.query.users import LONG, Histories, liked_item

N_LAST = 15
RARITY = 0.25
"""Power of the candidate's visits that its score is divided by: more would leave little but what is rare."""


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
        _come_back(batch.history, batch.visit, habits_of(table), allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item that the strongest habit begins at."""
        _explain(batch.history, batch.visit, habits_of(table), rows, causes)


@inline
def _weigh(history: Histories, b: int, popularity: Floats, smoothing: np.float32, factors: Floats) -> None:
    """Write (15,) 1 / ((r + 1) * sqrt(n_i + smoothing)); 0 where the item does not count."""
    factors[:] = 0
    for r in range(len(factors)):
        item = liked_item(history, b, r)
        if item >= 0:
            factors[r] = 1 / ((r + 1) * np.sqrt(popularity[item, LONG] + smoothing))


@kernel
def _come_back(
    history: Histories,
    visit: Doubles,  # (B, 2) the weight of a visit at the query's moment
    habits: Links,
    allowed: Allowed,
    sums: Floats,  # (N,) cells
    found: Candidates,
) -> None:
    """Add up the habits of each query's history, and divide by the visits of the candidate."""
    factors = np.empty(N_LAST, np.float32)
    pool = np.empty(N_LAST * habits.most, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        smoothing = np.float32(SMOOTHING * visit[b, LONG])
        _weigh(history, b, habits.popularity, smoothing, factors)
        n = sum_neighbours(history.rows[b], factors, habits, habits.rules, allowed, b, sums, pool)
        take_sums(pool, n, sums, scores)
        for p in range(n):
            scores[p] /= (habits.popularity[pool[p], LONG] + smoothing) ** np.float32(RARITY)
        propose(pool, scores, n, allowed.hashes, found, b)


@kernel
def _explain(
    history: Histories,
    visit: Doubles,  # (B, 2)
    habits: Links,
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Find the cause of each row."""
    factors = np.empty(N_LAST, np.float32)
    for b in range(len(rows)):
        _weigh(history, b, habits.popularity, np.float32(SMOOTHING * visit[b, LONG]), factors)
        find_strongest(history.rows[b], factors, habits, habits.rules, rows[b], causes[b])
