"""Sequential rules: what people go on to, from the last few things that this user did."""

import numpy as np

from models.candidates.neighbours import strongest_cause, sum_neighbours
from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch

N_LAST = 3


class SequentialRules:
    """Rules i -> j learned with weight 1 / steps, from the newest items of the session.

    score(j) = sum over r = 0..2 of 1 / (r + 1) * rule(i_r, j) / sum_k rule(i_r, k), where i_0 is the newest
    item, only the running session's items count (the newest always does), and disliked ones do not.
    Kamehkhosh, Jannach, Ludewig (2017), A comparison of frequent pattern techniques and a deep learning
    method for session-based recommendation.
    """

    name: SourceName = "sequential_rules"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose the likeliest next items; scores in [0, 1 + 1/2 + 1/3]."""
        sum_neighbours(
            batch.history,
            _factors(batch, table),
            table.neighbours,
            table.rule_weights,
            table.popularity,
            np.full(batch.n, -1, np.float32),
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
        """Name the item whose rule weighed most."""
        causes = np.full(rows.shape, -1, np.int64)
        strongest_cause(batch.history, _factors(batch, table), table.neighbours, table.rule_weights, rows, causes)
        return causes


def _factors(batch: QueryBatch, table: ItemTable) -> Floats:
    """(B, 3) recency over the sum of the item's rules; 0 where the item does not count."""
    return batch.derived("rule factors", lambda: _new_factors(batch, table))


def _new_factors(batch: QueryBatch, table: ItemTable) -> Floats:
    factors = np.zeros((batch.n, N_LAST), np.float32)
    _weigh(batch.history, batch.history_weights, batch.n_session, table.rule_totals, factors)
    return factors


@kernel
def _weigh(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    totals: Doubles,  # (N,)
    factors: Floats,  # (B, 3) written
) -> None:
    for b in range(factors.shape[0]):
        for r in range(min(factors.shape[1], max(1, n_session[b]))):
            item = history[b, r]
            if item < 0 or history_weights[b, r] < 0:
                continue
            if totals[item] > 0:
                factors[b, r] = 1 / ((r + 1) * totals[item])
