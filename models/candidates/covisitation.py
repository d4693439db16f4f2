"""Co-visitation: what goes together with all that the user did lately."""

import numpy as np

from models.candidates.neighbours import Links, find_strongest, links_of, sum_neighbours
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, propose, take_sums
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch
from models.query.users import LONG, Histories, liked_item

N_LAST = 15
RECENCY = 5.0
"""Items back at which an item of the history counts 1 / e."""
SMOOTHING = 5.0
"""Visits added to both items, so that a pair seen once is no certainty."""


class Covisitation(CandidateSource):
    """Items seen together, damped by how often each is seen at all.

    score(j) = sum over r = 0..14 of e^(-r / 5) * C_ij / sqrt((n_i + 5) * (n_j + 5)), where i = i_r is the
    r-th newest item, C_ij the decayed visits of both and n the decayed visits of one. Disliked items do not
    count. The 5 is scaled to the table's landmark (forward decay, Cormode et al. 2009), so that all of it
    cancels. Deshpande, Karypis (2004), Item-based top-N recommendation algorithms.
    """

    name = "covisitation"
    reason = "goes_with"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose the items that go best with the history."""
        _accompany(batch.history, batch.visit, links_of(table), allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item of the history that goes best with each."""
        _explain(batch.history, batch.visit, links_of(table), rows, causes)


@inline
def _weigh(history: Histories, b: int, popularity: Floats, smoothing: np.float32, factors: Floats) -> None:
    """Write (15,) e^(-r / 5) / sqrt(n_i + smoothing); 0 where the item does not count."""
    factors[:] = 0
    for r in range(len(factors)):
        item = liked_item(history, b, r)
        if item >= 0:
            factors[r] = np.exp(-r / RECENCY) / np.sqrt(popularity[item, LONG] + smoothing)


@kernel
def _accompany(
    history: Histories,
    visit: Doubles,  # (B, 2) the weight of a visit at the query's moment
    links: Links,
    allowed: Allowed,
    sums: Floats,  # (N,) cells
    found: Candidates,
) -> None:
    """Add up the visits of both over each query's history, and divide by the visits of the candidate."""
    factors = np.empty(N_LAST, np.float32)
    pool = np.empty(N_LAST * links.most, np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(history.rows)):
        smoothing = np.float32(SMOOTHING * visit[b, LONG])
        _weigh(history, b, links.popularity, smoothing, factors)
        n = sum_neighbours(history.rows[b], factors, links, links.covisits, allowed, b, sums, pool)
        take_sums(pool, n, sums, scores)
        for p in range(n):
            scores[p] /= np.sqrt(links.popularity[pool[p], LONG] + smoothing)
        propose(pool, scores, n, allowed.hashes, found, b)


@kernel
def _explain(
    history: Histories,
    visit: Doubles,  # (B, 2)
    links: Links,
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Find the cause of each row."""
    factors = np.empty(N_LAST, np.float32)
    for b in range(len(rows)):
        _weigh(history, b, links.popularity, np.float32(SMOOTHING * visit[b, LONG]), factors)
        find_strongest(history.rows[b], factors, links, links.covisits, rows[b], causes[b])
