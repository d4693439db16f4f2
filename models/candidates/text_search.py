"""Search: the items whose content is nearest to a text, by exact dot products over the whole table."""

import numpy as np

from models.candidates.selection import Allowed, Candidates, mark, propose, unmark
from models.items import ItemTable
from models.items.catalog import word_attribute
from models.items.vectors import UNIT
from models.numeric.arrays import Int8s, Int64s
from models.numeric.ids import hash32
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch


def search(batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
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
    _find_nearest(asked, texts, table.vectors[: table.n], allowed, found)


@kernel
def _find_nearest(
    asked: Int64s,  # (T,) positions of the queries with a text
    texts: Int8s,  # (T, D)
    vectors: Int8s,  # (N, D)
    allowed: Allowed,
    found: Candidates,
) -> None:
    """Compare each text with all items."""
    pool, scores = np.empty(len(vectors), np.int32), np.empty(len(vectors), np.float32)
    for t in range(len(asked)):
        mark(allowed, asked[t])
        n = 0
        for row in range(len(vectors)):
            dot = np.int32(0)
            for d in range(vectors.shape[1]):
                dot += np.int32(texts[t, d]) * np.int32(vectors[row, d])
            if dot > 0 and allowed.flags[row] == allowed.eligible:
                pool[n] = row
                scores[n] = dot / (UNIT * UNIT)
                n += 1
        propose(pool, scores, n, allowed.hashes, found, asked[t])
        unmark(allowed, asked[t])
