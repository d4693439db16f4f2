"""The blend: the sources' candidates in one list a query, each with what every source said about it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.candidates.content import Content
from models.candidates.covisitation import Covisitation
from models.candidates.habits import Habits
from models.candidates.next_in_sequence import NextInSequence
from models.candidates.protocol import CandidateSource
from models.candidates.revisits import Revisits
from models.candidates.scratch import scratch
from models.candidates.selection import USABLE, Allowed, Candidates, select_top
from models.candidates.sequential_rules import SequentialRules
from models.candidates.session_knn import SessionKNN
from models.candidates.trending import Trending
from models.candidates.two_step_rules import TwoStepRules
from models.candidates.weights import lengths_reached, list_shares
from models.items import ItemTable
from models.names import SOURCES
from models.numeric.arrays import Floats, Int8s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch

EVERY_SOURCE: tuple[CandidateSource, ...] = (
    SequentialRules(), Covisitation(), Trending(), Content(), SessionKNN(), TwoStepRules(), Revisits(), Habits(),
    NextInSequence(),
)  # fmt: skip
"""All candidate sources that a strategy can name, in the order of SOURCES."""
_OWN = len(SOURCES)
"""The column of a query's own candidates behind the sources'."""


class Blended(NamedTuple):
    """C candidates of each of B queries, best blend first, ties by the item's hash; S sources."""

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


def blend(
    batch: QueryBatch,
    table: ItemTable,
    n: int,
    sources: Sequence[CandidateSource] = EVERY_SOURCE,
    n_kept: int | None = None,
) -> Blended:
    """Ask the strategy's sources for n candidates a query, and merge what they say.

    score(j) = sum_s w_s * score_s(j) / max_k score_s(k) / sum_s w_s, by the weights that hold at the session's length
    (`Strategy.sources_by_session`). The best `n_kept` of these are kept, n where that is not said, and of each source
    those that it puts first (`Strategy.n_from_each`). Queries with their own candidates keep
    all of those that are allowed, proposed by a source or not. With a search text, the content source (which
    then is the search) weighs as much as all others together, so that the match leads.
    """
    allowed = Allowed.of(batch, table)
    rows = _rows_of(batch, table)
    weights = _weights(batch, rows)
    columns = [s for s, name in enumerate(SOURCES) if any(row[s] for row in rows) or _is_sought(name, batch)]
    found = Candidates(
        np.full((len(columns) + batch.own, batch.n, n), -1, np.int32),
        np.zeros((len(columns) + batch.own, batch.n, n), np.float32),
    )
    for a, s in enumerate(columns):
        sources[s].generate(batch, table, allowed, Candidates(found.rows[a], found.scores[a]))
    if batch.own:
        _list_own(batch, allowed, Candidates(found.rows[-1], found.scores[-1]))
    blended = Blended.empty(batch.n, n_kept or n)
    n_heads = batch.strategy.n_from_each
    _fuse(found, np.array([*columns, _OWN]), weights, n_heads, table.hashes, scratch(table.n).slots, blended)
    return blended


def _is_sought(name: str, batch: QueryBatch) -> bool:
    return name == Content.name and any(query.query for query in batch.queries)


def _rows_of(batch: QueryBatch, table: ItemTable) -> list[list[float]]:
    """List the sources' weights at each length of a session; where no sequence model serves, it has none."""
    return list_shares(batch.strategy, {NextInSequence.name} if table.learned is None else ())


def _weights(batch: QueryBatch, rows: Sequence[Sequence[float]]) -> Floats:
    """(B, S + 1) the blend's weights, each row adding up to 1; the last, of given candidates, is 0."""
    weights = np.zeros((batch.n, len(SOURCES) + 1), np.float32)
    weights[:, :-1] = rows[0]
    reached = np.zeros(batch.n, np.int64)
    if len(rows) > 1:
        reached = lengths_reached(batch.strategy, batch.history.n_session)
        weights[:, :-1] = np.array(rows)[reached]
    content = SOURCES.index(Content.name)
    for b, query in enumerate(batch.queries):
        if query.query:
            searched = list(rows[reached[b]])
            searched[content] = max(sum(searched) - searched[content], searched[content], 1e-6)
            weights[b, :-1] = np.array(searched) / sum(searched)
    return weights


def _list_own(batch: QueryBatch, allowed: Allowed, found: Candidates) -> None:
    """List the queries' own candidates, as if a source of no weight had named them."""
    owner = np.repeat(np.arange(batch.n), np.diff(batch.marks.starts))
    position = np.arange(len(owner)) - batch.marks.starts[owner]
    found.rows[owner, position] = np.where(allowed.flags[batch.marks.rows] == USABLE, batch.marks.rows, -1)
    found.scores[:] = 1


@kernel
def _fuse(
    found: Candidates,  # (A, B, n) of the sources that were asked, and of the queries' own candidates if any
    columns: Int64s,  # (A,) where each stands in arrays with a column a source; the own candidates behind them all
    weights: Floats,  # (B, S + 1)
    n_heads: int,  # of each source
    hashes: Int64s,  # (N,)
    slots: Int32s,  # (N,) cells
    blended: Blended,  # written
) -> None:
    """Add up the shares of each query's items, which are numbered as they are met, and keep the best."""
    n_asked, n_queries, width = found.rows.shape
    n_sources = blended.source_scores.shape[2]
    entered = np.empty(n_asked * width, np.int32)
    pool_rows = np.empty(n_asked * width, np.int32)
    pool_scores = np.empty(n_asked * width, np.float32)
    scores = np.empty(n_asked * width, np.float32)
    shares = np.zeros((n_asked * width, n_sources + 1), np.float32)
    ranks = np.zeros((n_asked * width, n_sources + 1), np.float32)
    # Kept on the way: to look for them, and to clear cell by cell, took a third of the fusion.
    best_ranks = np.empty(n_asked * width, np.float32)
    for b in range(n_queries):
        n = 0
        for a in range(n_asked):
            column = columns[a]
            for p in range(width):
                row = found.rows[a, b, p]
                if row < 0:
                    continue
                if slots[row] == 0:
                    entered[n] = pool_rows[n] = row
                    pool_scores[n] = best_ranks[n] = 0
                    n += 1
                    slots[row] = n
                entry = slots[row] - 1
                share = found.scores[a, b, p] / found.scores[a, b, 0]
                shares[entry, column] = share
                ranks[entry, column] = rank = np.float32(1) / np.float32(p + 1)
                best_ranks[entry] = max(best_ranks[entry], rank)
                pool_scores[entry] += weights[b, column] * share
        scores[:n] = pool_scores[:n]
        kept = select_top(pool_rows, pool_scores, n, blended.rows.shape[1], hashes)
        _keep_heads(pool_rows[:kept], pool_scores[:kept], entered[:n], scores, best_ranks, n_heads, hashes, slots)
        for c in range(kept):
            # The selection moved rows and scores; the slots still say where each row's entry is.
            entry = slots[pool_rows[c]] - 1
            blended.rows[b, c] = pool_rows[c]
            blended.scores[b, c] = min(pool_scores[c], np.float32(1))
            blended.top_source[b, c] = _find_top(weights[b], shares[entry], n_sources)
            for s in range(n_sources):
                blended.source_scores[b, c, s] = shares[entry, s]
                blended.source_ranks[b, c, s] = ranks[entry, s]
        for entry in range(n):
            slots[entered[entry]] = 0
        shares[:n] = 0
        ranks[:n] = 0


@inline
def _keep_heads(
    rows: Int32s,  # (C,) what is kept, best first; written
    kept_scores: Floats,  # (C,) written
    entered: Int32s,  # (E,) the row of each entry
    scores: Floats,  # (E or more,)
    best_ranks: Floats,  # (E or more,) 1 / rank in the list where it stands highest
    n_heads: int,
    hashes: Int64s,  # (N,)
    slots: Int32s,  # (N,) each row's entry, from 1
) -> None:
    """Put the sources' best in the place of the last of what is kept, of which the first half stays."""
    if n_heads == 0 or len(rows) == len(entered):
        return
    least = np.float32(1) / np.float32(n_heads)
    is_kept = np.zeros(len(entered), np.bool_)
    first = len(rows) // 2
    n_others = 0
    for c in range(len(rows)):
        entry = slots[rows[c]] - 1
        is_kept[entry] = True
        n_others += c >= first and best_ranks[entry] < least
    missing_rows, missing_scores = np.empty(len(entered), np.int32), np.empty(len(entered), np.float32)
    n_missing = 0
    for entry in range(len(entered)):
        if not is_kept[entry] and best_ranks[entry] >= least:
            missing_rows[n_missing] = entered[entry]
            missing_scores[n_missing] = scores[entry]
            n_missing += 1
    taken = select_top(missing_rows, missing_scores, n_missing, n_others, hashes)
    n_stay = len(rows) - taken
    n_let_go = n_others - taken
    stands = first
    for c in range(first, len(rows)):
        is_other = best_ranks[slots[rows[c]] - 1] < least
        if is_other and n_let_go == 0:
            continue
        n_let_go -= is_other
        rows[stands], kept_scores[stands] = rows[c], kept_scores[c]
        stands += 1
    rows[n_stay:] = missing_rows[:taken]
    kept_scores[n_stay:] = missing_scores[:taken]


@inline
def _find_top(weights: Floats, shares: Floats, n_sources: int) -> int:
    """Name the source that contributed most, the first at a tie; -1 where none did."""
    top, most = -1, np.float32(0)
    for s in range(n_sources):
        if weights[s] * shares[s] > most:
            top, most = s, weights[s] * shares[s]
    return top
