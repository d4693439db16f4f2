"""Search: the items whose content is nearest to a text, by exact dot products over the whole table."""

import numpy as np

from models.candidates.protocol import Candidates
from models.candidates.selection import mark, select_top, unmark
from models.items import ItemTable
from models.items.catalog import word_attribute
from models.items.vectors import UNIT
from models.numeric.arrays import Bytes, Floats, Int8s, Int32s, Int64s
from models.numeric.ids import hash32
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch


def search(batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
    """Replace the candidates of each query that has a search text by the nearest items.

    score(j) = cosine of the text's and the item's content vectors, where above 0. Of the text, words that stand in some
    item's title count most.
    """
    asked = np.array([b for b, query in enumerate(batch.queries) if query.query], np.int64)
    if not len(asked):
        return

    def is_in_titles(word: str) -> bool:
        return bool(table.postings.numbers_of(np.array([hash32(word_attribute(word))], np.uint32))[0] >= 0)

    texts = np.stack([table.texts.search(batch.queries[b].query or "", is_in_titles) for b in asked])
    found.rows[asked] = -1
    found.scores[asked] = 0
    _nearest(
        asked,
        texts,
        table.vectors[: table.n],
        batch.marks.starts,
        batch.marks.rows,
        batch.wanted,
        table.hashes,
        states,
        found.rows,
        found.scores,
    )


@kernel
def _nearest(
    asked: Int64s,  # (T,) query numbers
    texts: Int8s,  # (T, D)
    vectors: Int8s,  # (N, D)
    mark_starts: Int64s,
    mark_rows: Int32s,
    wanted: int,
    hashes: Int64s,
    states: Bytes,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    pool_rows = np.empty(len(vectors), np.int32)
    pool_scores = np.empty(len(vectors), np.float32)
    for t in range(len(asked)):
        b = asked[t]
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n = 0
        for row in range(len(vectors)):
            dot = np.int32(0)
            for d in range(vectors.shape[1]):
                dot += np.int32(texts[t, d]) * np.int32(vectors[row, d])
            if dot > 0 and states[row] == wanted:
                pool_rows[n] = row
                pool_scores[n] = dot / (UNIT * UNIT)
                n += 1
        kept = select_top(pool_rows, pool_scores, n, out_rows.shape[1], hashes)
        for p in range(kept):
            out_rows[b, p] = pool_rows[p]
            out_scores[b, p] = pool_scores[p]
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
