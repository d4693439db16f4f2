"""Co-visitation: what goes together with all that the user did lately."""

import numpy as np

from models.candidates.damped import N_LAST, explain_damped, sum_damped
from models.candidates.neighbours import links_of
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates
from models.items import ItemTable
from models.numeric.arrays import Floats, Int32s, Int64s
from models.query.batch import QueryBatch

RECENCY = 5.0
"""Items back at which an item of the history counts 1 / e."""
_RECENCY: Floats = np.exp(-np.arange(N_LAST) / RECENCY).astype(np.float32)
_N_ROOTS = 1


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
        links, sums = links_of(table), scratch(table.n).sums
        sum_damped(batch.history, batch.visit, _RECENCY, links, links.covisits, _N_ROOTS, allowed, sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the item of the history that goes best with each."""
        links = links_of(table)
        explain_damped(batch.history, batch.visit, _RECENCY, links, links.covisits, rows, causes)
