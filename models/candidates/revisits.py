"""Revisits: what the user was on before in this session, where the strategy lets it return."""

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, add_to_pool, propose, take_allowed
from models.items import ItemTable
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch
from models.query.users import Histories, liked_item


class Revisits(CandidateSource):
    """Items of the running session: people come back to what they compared.

    score(j) = sum over the session's r = 0, 1, ... with i_r = j of 1 / (r + 1), r steps back from the newest. Disliked
    items do not count. On shop sessions a third of the next clicks are such items (Ren et al., 2019, RepeatNet).
    """

    name = "revisits"
    reason = "known"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose what the strategy lets return."""
        _return(batch.history, allowed, scratch(table.n).sums, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:  # noqa: ARG002
        """Each is its own cause."""
        np.copyto(causes, rows, where=rows >= 0)


@kernel
def _return(history: Histories, allowed: Allowed, sums: Floats, found: Candidates) -> None:
    """Add up each session's steps back; `sums` are (N,) cells."""
    n_recent = history.rows.shape[1]
    pool, scores = np.empty(n_recent, np.int32), np.empty(n_recent, np.float32)
    for b in range(len(history.rows)):
        n = 0
        for r in range(min(history.n_session[b], n_recent)):
            j = liked_item(history, b, r)
            if j >= 0:
                n = add_to_pool(j, np.float32(1) / np.float32(r + 1), sums, pool, n)
        n = take_allowed(allowed, b, pool, n, sums, scores)
        propose(pool, scores, n, allowed.hashes, found, b)
