"""Revisits: what the user was on before in this session, where the strategy lets it return."""

import numpy as np

from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.candidates.selection import mark, select_top, unmark
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch


class Revisits:
    """Items of the running session: people come back to what they compared.

    score(j) = sum over the session's r = 0, 1, ... with i_r = j of 1 / (r + 1), r steps back from the newest. Disliked
    items do not count. On shop sessions a third of the next clicks are such items (Ren et al., 2019, RepeatNet).
    """

    name: SourceName = "revisits"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose what the strategy lets return."""
        _return(
            batch.history, batch.history_weights, batch.n_session, batch.marks.starts, batch.marks.rows, batch.wanted,
            table.hashes, states, scratch(table.n).sums, found.rows, found.scores,
        )  # fmt: skip

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:  # noqa: ARG002
        """Each is its own cause."""
        return rows.astype(np.int64)


@kernel
def _return(
    history: Int32s,  # (B, 32)
    history_weights: Floats,  # (B, 32)
    n_session: Int32s,  # (B,)
    mark_starts: Int64s,
    mark_rows: Int32s,
    wanted: int,
    hashes: Int64s,
    states: Bytes,
    sums: Floats,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    pool = np.empty(history.shape[1], np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(history.shape[0]):
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n = 0
        for r in range(min(n_session[b], history.shape[1])):
            j = history[b, r]
            if j < 0 or history_weights[b, r] < 0 or states[j] != wanted:
                continue
            if sums[j] == 0:
                pool[n] = j
                n += 1
            sums[j] += np.float32(1) / np.float32(r + 1)
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        for p in range(n):
            scores[p] = sums[pool[p]]
            sums[pool[p]] = 0
        kept = select_top(pool, scores, n, out_rows.shape[1], hashes)
        for p in range(kept):
            out_rows[b, p] = pool[p]
            out_scores[b, p] = scores[p]
