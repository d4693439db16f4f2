"""All that the candidate sources said before users acted: what their weights are fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.candidates.blend import blend
from models.items import ItemTable
from models.names import SOURCES
from models.numeric.arrays import Bools, Doubles, Floats, Int64s
from models.numeric.ids import hash_all
from models.query.batch import QueryBatch
from models.serving.recommender import MOST_AT_ONCE
from models.strategy import Strategy
from models.user.query import Query

MAX_POOLS = 6_000
"""About so many are kept, drawn at random over the whole time; some 10 KB each."""
_AT_ONCE = MOST_AT_ONCE // 4
"""A pool is as long as all lists of candidates together."""


@dataclass(frozen=True, slots=True)
class SourcePools:
    """The candidates of Q queries, of all sources, E in all, of which each query's user went on to one."""

    shares: NDArray[np.float16]
    """(E, S) each source's score over its query's largest; 0 where it did not propose the item."""
    starts: Int64s
    """(Q + 1,) the pool of query q is [starts[q], starts[q + 1]), never empty."""
    labels: Int64s
    """(Q,) among all E: the item that the user went on to."""
    n_acts: Int64s
    """(Q,) of the running session."""

    @property
    def n(self) -> int:
        """How many queries there are."""
        return len(self.labels)

    def __getitem__(self, chosen: Bools | slice) -> "SourcePools":
        """Keep some of the queries."""
        kept = np.arange(self.n)[chosen]
        sizes = np.diff(self.starts)[kept]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        entries = np.arange(starts[-1]) + np.repeat(self.starts[kept] - starts[:-1], sizes)
        labels = self.labels[kept] - self.starts[kept] + starts[:-1]
        return SourcePools(self.shares[entries], starts, labels, self.n_acts[kept])

    def ranks(self, weights: Doubles) -> Int64s:
        """(Q,) the label's rank in each pool from 1, by (Q, S) weights; ties count against it."""
        scores = np.einsum("es,es->e", self.shares.astype(np.float32), self.spread(weights.astype(np.float32)))
        own = self.spread(scores[self.labels])
        return np.add.reduceat((scores >= own).astype(np.int64), self.starts[:-1])

    def spread(self, values: Floats) -> Floats:
        """(E, ...) give each candidate what its query has of (Q, ...)."""
        return np.repeat(values, np.diff(self.starts), axis=0)


class PoolGatherer:
    """Asks the sources for all that they would propose, for a share of the queries drawn at random.

    Parameters
    ----------
    strategy : whose sources are asked, each for as many candidates as there are to be; its weights play no part.
    share : of the queries.
    """

    def __init__(self, strategy: Strategy, share: float, seed: int = 0) -> None:
        self._strategy = replace(strategy, n_from_each=0)
        self._share = share
        self._rng = np.random.default_rng(seed)
        self._parts: list[SourcePools] = []

    @property
    def n(self) -> int:
        """How many pools were kept."""
        return sum(part.n for part in self._parts)

    def observe(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> None:
        """Keep the pools of some of B queries, where they hold the items that users went on to.

        Parameters
        ----------
        truth : (B,) ids of these, which no table knows yet.
        """
        drawn = np.flatnonzero(self._rng.random(len(queries)) < self._share).tolist()
        kept = [b for b in drawn if not queries[b].query and queries[b].candidates is None]
        for first in range(0, len(kept), _AT_ONCE):
            part = kept[first : first + _AT_ONCE]
            asked = [replace(queries[b], strategy=self._strategy) for b in part]
            self._parts.append(_pools(asked, table, [truth[b] for b in part]))

    def all(self) -> SourcePools:
        """Return all that was kept, the oldest first."""
        parts = [part for part in self._parts if part.n] or [_NONE]
        ends = np.cumsum([0, *(part.starts[-1] for part in parts)])
        starts = [part.starts[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
        labels = [part.labels + end for part, end in zip(parts, ends[:-1], strict=True)]
        return SourcePools(
            np.concatenate([part.shares for part in parts]),
            np.concatenate([*starts, ends[-1:]]),
            np.concatenate(labels),
            np.concatenate([part.n_acts for part in parts]),
        )


_NO_NUMBERS: Int64s = np.empty(0, np.int64)
_NONE = SourcePools(np.empty((0, len(SOURCES)), np.float16), np.zeros(1, np.int64), _NO_NUMBERS, _NO_NUMBERS)


def _pools(queries: list[Query], table: ItemTable, truth: Sequence[str]) -> SourcePools:
    batch = QueryBatch.from_queries(queries, table)
    n, n_sources = batch.strategy.n_candidates, len(batch.strategy.asked_sources)
    blended = blend(batch, table, n, n_kept=n * n_sources)
    rows = table.rows_of(hash_all(list(truth)))[:, None]  # (B, 1)
    found = (blended.rows == rows) & (rows >= 0)
    answered = found.any(axis=1)
    is_there = (blended.rows >= 0) & answered[:, None]
    starts = np.concatenate([[0], np.cumsum(is_there.sum(axis=1)[answered])])
    labels = starts[:-1] + found.argmax(axis=1)[answered]
    shares = blended.source_scores[is_there].astype(np.float16)
    return SourcePools(shares, starts, labels, batch.history.n_session[answered].astype(np.int64))
