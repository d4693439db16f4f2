"""Sequential rules: what people go on to, from the last few things that this user did."""

import numpy as np

from models.candidates.neighbours import Links, find_strongest, links_of, sum_neighbours
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, propose, take_allowed
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch
from models.query.users import Histories, liked_item, n_newest

N_LAST = 3


class SequentialRules(CandidateSource):
    """Rules i -> j learned with weight 1 / steps, from the newest items of the session.

    score(j) = sum over r = 0..2 of 1 / (r + 1) * rule(i_r, j) / sum_k rule(i_r, k), where i_0 is the newest
    item, only the running session's items count (the newest always does), and disliked ones do not.
    Kamehkhosh, Jannach, Ludewig (2017), A comparison of frequent pattern techniques and a deep learning
    method for session-based recommendation.
    """

    name = "sequential_rules"
    reason = "often_next"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose the likeliest next items; scores in [0, 1 + 1/2 + 1/3]."""
        _follow(batch.history, links_of(table), allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item whose rule weighed most."""
        _explain(batch.history, links_of(table), rows, causes)


@inline
def _weigh(history: Histories, b: int, totals: Doubles, factors: Floats) -> None:
    """Write (3,) recency over the sum of the item's rules, (N,); 0 where the item does not count."""
    factors[:] = 0
    for r in range(n_newest(history, b, len(factors))):
        item = liked_item(history, b, r)
        if item >= 0 and totals[item] > 0:
            factors[r] = 1 / ((r + 1) * totals[item])


@kernel
def _follow(history: Histories, links: Links, allowed: Allowed, sums: Floats, found: Candidates) -> None:
    """Add up the rules of each query's newest items; `sums` are (N,) cells."""
    factors = np.empty(N_LAST, np.float32)
    pool = np.empty(N_LAST * links.most, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        _weigh(history, b, links.rule_totals, factors)
        n = sum_neighbours(history.rows[b], factors, links, links.rules, sums, pool)
        n = take_allowed(allowed, b, pool, n, sums, scores)
        propose(pool, scores, n, allowed.hashes, found, b)


@kernel
def _explain(history: Histories, links: Links, rows: Int32s, causes: Int64s) -> None:
    """Find the cause of each of the (B, L) rows."""
    factors = np.empty(N_LAST, np.float32)
    for b in range(len(rows)):
        _weigh(history, b, links.rule_totals, factors)
        find_strongest(history.rows[b], factors, links, links.rules, rows[b], causes[b])
