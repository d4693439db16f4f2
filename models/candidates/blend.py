"""The blend: the sources' candidates in one list a query, each with what every source said about it."""

from dataclasses import dataclass

import numpy as np

from models.candidates.protocol import Candidates, CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import USABLE, select_top
from models.items import ItemTable
from models.names import SOURCES
from models.numeric.arrays import Bytes, Floats, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch


@dataclass(frozen=True, slots=True)
class Blended:
    """The candidates of each query, best blend first, ties by the item's hash."""

    rows: Int32s
    """(B, C) -1 where there is no more."""
    scores: Floats
    """(B, C) in [0, 1]: the weighted mean of the sources' scores, each over its query's largest."""
    source_scores: Floats
    """(B, C, S) each source's score over its query's largest; 0 where the source did not propose the item."""
    source_ranks: Floats
    """(B, C, S) 1 / rank in the source's list; 0 where the source did not propose the item."""
    top_source: Int8s
    """(B, C) the source that contributed most, the first at a tie; -1 none."""

    @classmethod
    def empty(cls, n_queries: int, n: int) -> "Blended":
        """Make room for n candidates a query."""
        shape = (n_queries, n)
        source_scores, source_ranks = np.zeros((2, *shape, len(SOURCES)), np.float32)
        rows, scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        return cls(rows, scores, source_scores, source_ranks, np.full(shape, -1, np.int8))

    def at(self, places: Int32s) -> "Blended":
        """Keep the candidates at (B, L) places, -1 for none."""
        kept = Blended.empty(*places.shape)
        _keep(
            places, self.rows, self.scores, self.source_scores, self.source_ranks, self.top_source,
            kept.rows, kept.scores, kept.source_scores, kept.source_ranks, kept.top_source,
        )  # fmt: skip
        return kept


def blend(batch: QueryBatch, table: ItemTable, states: Bytes, sources: dict[str, CandidateSource], n: int) -> Blended:
    """Ask the strategy's sources and merge what they say.

    score(j) = sum_s w_s * score_s(j) / max_k score_s(k) / sum_s w_s. Queries with their own candidates keep
    all of those that are allowed, proposed by a source or not. With a search text, the content source (which
    then is the search) weighs as much as all others together, so that the match leads.
    """
    weights = _weights(batch)
    columns = [s for s, name in enumerate(SOURCES) if batch.strategy.sources.get(name, 0.0) or _is_sought(name, batch)]
    shape = (batch.n, n)
    found_rows = np.full((len(columns) + batch.own, *shape), -1, np.int32)
    found_scores = np.zeros(found_rows.shape, np.float32)
    for a, s in enumerate(columns):
        sources[SOURCES[s]].generate(batch, table, states, Candidates(found_rows[a], found_scores[a]))
    if batch.own:
        _give(batch, states, Candidates(found_rows[-1], found_scores[-1]))
    blended = Blended.empty(batch.n, n)
    _fuse(
        found_rows,
        found_scores,
        np.array([*columns, len(SOURCES)]),
        weights,
        table.hashes,
        scratch(table.n).slots,
        blended.rows,
        blended.scores,
        blended.source_scores,
        blended.source_ranks,
        blended.top_source,
    )
    return blended


def _is_sought(name: str, batch: QueryBatch) -> bool:
    return name == "content" and any(query.query for query in batch.queries)


def _weights(batch: QueryBatch) -> Floats:
    """(B, S + 1) the blend's weights, each row adding up to 1; the last, of given candidates, is 0."""
    row = [batch.strategy.sources.get(name, 0.0) for name in SOURCES]
    total = sum(row)
    weights = np.empty((batch.n, len(SOURCES) + 1), np.float32)
    weights[:] = [*(weight / total for weight in row), 0.0]
    content = SOURCES.index("content")
    for b, query in enumerate(batch.queries):
        if query.query:
            searched = list(row)
            searched[content] = max(total - row[content], row[content], 1e-6)
            weights[b, :-1] = np.array(searched) / sum(searched)
    return weights


def _give(batch: QueryBatch, states: Bytes, given: Candidates) -> None:
    """List the queries' own candidates, as if a source of no weight had named them."""
    owner = np.repeat(np.arange(batch.n), np.diff(batch.marks.starts))
    place = np.arange(len(owner)) - batch.marks.starts[owner]
    given.rows[owner, place] = np.where(states[batch.marks.rows] == USABLE, batch.marks.rows, -1)
    given.scores[:] = 1


@kernel
def _keep(
    places: Int32s,  # (B, L)
    rows: Int32s,  # (B, C)
    scores: Floats,  # (B, C)
    source_scores: Floats,  # (B, C, S)
    source_ranks: Floats,  # (B, C, S)
    top_source: Int8s,  # (B, C)
    out_rows: Int32s,  # (B, L)
    out_scores: Floats,  # (B, L)
    out_source_scores: Floats,  # (B, L, S)
    out_source_ranks: Floats,  # (B, L, S)
    out_top_source: Int8s,  # (B, L)
) -> None:
    for b in range(places.shape[0]):
        for p in range(places.shape[1]):
            c = places[b, p]
            if c < 0:
                break
            out_rows[b, p], out_scores[b, p], out_top_source[b, p] = rows[b, c], scores[b, c], top_source[b, c]
            for s in range(source_scores.shape[2]):
                out_source_scores[b, p, s] = source_scores[b, c, s]
                out_source_ranks[b, p, s] = source_ranks[b, c, s]


@kernel
def _fuse(
    rows: Int32s,  # (A, B, n) of the sources that were asked
    scores: Floats,  # (A, B, n)
    columns: Int64s,  # (A,) where each source stands in arrays with a column a source
    weights: Floats,  # (B, S + 1) the last is that of the given candidates, 0
    hashes: Int64s,
    slots: Int32s,
    out_rows: Int32s,  # (B, C)
    out_scores: Floats,  # (B, C)
    out_source_scores: Floats,  # (B, C, S)
    out_source_ranks: Floats,  # (B, C, S)
    out_top_source: Int8s,  # (B, C)
) -> None:
    n_asked, n_queries, width = rows.shape
    n_sources = out_source_scores.shape[2]
    entered = np.empty(n_asked * width, np.int32)
    pool_rows = np.empty(n_asked * width, np.int32)
    pool_scores = np.empty(n_asked * width, np.float32)
    shares = np.zeros((n_asked * width, n_sources + 1), np.float32)
    ranks = np.zeros((n_asked * width, n_sources + 1), np.float32)
    for b in range(n_queries):
        n = 0
        for a in range(n_asked):
            column = columns[a]
            for p in range(width):
                row = rows[a, b, p]
                if row < 0:
                    continue
                if slots[row] == 0:
                    entered[n] = pool_rows[n] = row
                    pool_scores[n] = 0
                    n += 1
                    slots[row] = n
                entry = slots[row] - 1
                share = scores[a, b, p] / scores[a, b, 0]
                shares[entry, column] = share
                ranks[entry, column] = np.float32(1) / np.float32(p + 1)
                pool_scores[entry] += weights[b, column] * share
        kept = select_top(pool_rows, pool_scores, n, out_rows.shape[1], hashes)
        for c in range(kept):
            # The selection moved rows and scores; the slots still say where each row's entry is.
            entry = slots[pool_rows[c]] - 1
            out_rows[b, c] = pool_rows[c]
            out_scores[b, c] = min(pool_scores[c], np.float32(1))
            out_top_source[b, c] = _most(weights[b], shares[entry], n_sources)
            for s in range(n_sources):
                out_source_scores[b, c, s] = shares[entry, s]
                out_source_ranks[b, c, s] = ranks[entry, s]
        for entry in range(n):
            slots[entered[entry]] = 0
            for s in range(n_sources):
                shares[entry, s] = ranks[entry, s] = 0


@inline
def _most(weights: Floats, shares: Floats, n_sources: int) -> int:
    """Name the source that contributed most, the first at a tie; -1 where none did."""
    top, most = -1, np.float32(0)
    for s in range(n_sources):
        if weights[s] * shares[s] > most:
            top, most = s, weights[s] * shares[s]
    return top
