"""Co-visitation: what goes together with all that the user did lately."""

import numpy as np

from models.candidates.neighbours import strongest_cause, sum_neighbours
from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch

N_LAST = 15
RECENCY = 5.0
"""Items back at which an item of the history counts 1 / e."""
SMOOTHING = 5.0
"""Visits added to both items, so that a pair seen once is no certainty."""


class Covisitation:
    """Items seen together, damped by how often each is seen at all.

    score(j) = sum over r = 0..14 of e^(-r / 5) * C_ij / sqrt((n_i + 5) * (n_j + 5)), where i = i_r is the
    r-th newest item, C_ij the decayed visits of both and n the decayed visits of one. Disliked items do not
    count. The 5 is scaled to the table's landmark (forward decay, Cormode et al. 2009), so that all of it
    cancels. Deshpande, Karypis (2004), Item-based top-N recommendation algorithms.
    """

    name: SourceName = "covisitation"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose the items that go best with the history."""
        sum_neighbours(
            batch.history,
            _factors(batch, table),
            table.neighbours,
            table.covisit_weights,
            table.popularity,
            _smoothing(batch),
            batch.marks.starts,
            batch.marks.rows,
            batch.wanted,
            table.hashes,
            states,
            scratch(table.n).sums,
            found.rows,
            found.scores,
        )

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:
        """Name the item of the history that goes best with each."""
        causes = np.full(rows.shape, -1, np.int64)
        strongest_cause(batch.history, _factors(batch, table), table.neighbours, table.covisit_weights, rows, causes)
        return causes


def _smoothing(batch: QueryBatch) -> Floats:
    """(B,) the smoothing at each query's moment, in landmark units."""
    return (SMOOTHING * batch.visit[:, 1]).astype(np.float32)


def _factors(batch: QueryBatch, table: ItemTable) -> Floats:
    """(B, 15) e^(-r / 5) / sqrt(n_i + smoothing); 0 where the item does not count."""
    return batch.derived("covisitation factors", lambda: _new_factors(batch, table))


def _new_factors(batch: QueryBatch, table: ItemTable) -> Floats:
    factors = np.zeros((batch.n, N_LAST), np.float32)
    _weigh(batch.history, batch.history_weights, table.popularity, _smoothing(batch), factors)
    return factors


@kernel
def _weigh(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    popularity: Floats,  # (N, 2)
    smoothing: Floats,  # (B,)
    factors: Floats,  # (B, 15) written
) -> None:
    for b in range(factors.shape[0]):
        for r in range(factors.shape[1]):
            item = history[b, r]
            if item >= 0 and history_weights[b, r] >= 0:
                factors[b, r] = np.exp(-r / RECENCY) / np.sqrt(popularity[item, 1] + smoothing[b])
