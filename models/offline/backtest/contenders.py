"""What a backtest compares: every baseline, every ranker and the default pipeline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from models.candidates.selection import usable
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Int32s, Int64s
from models.numeric.ids import hash_all
from models.offline.backtest.config import BacktestConfig, Timer
from models.offline.backtest.item_counts import ItemCounts
from models.query.batch import QueryBatch
from models.rankers.checkpoint import Checkpoint
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import Strategy
from models.user.query import Query

DEFAULT = "eddy"
"""The default pipeline's row."""
BASELINES: dict[str, SourceName] = {
    "recent_popularity": "trending",
    "sequential_rules": "sequential_rules",
    "covisitation": "covisitation",
    "session_knn": "session_knn",
    "content": "content",
}
"""Each row that is one candidate source by itself."""


class Predictions(NamedTuple):
    """What was recommended, and the rank in it of the item that the user went on to."""

    ranks: Int64s
    """(B,) from 1; 0 where the item is not among what was ranked."""
    rows: Int32s
    """(B, k) the slates, -1 where there is no more."""


class Contender(Protocol):
    """One way to recommend."""

    @property
    def name(self) -> str:
        """Its row in the report."""

    @property
    def strategy(self) -> Strategy:
        """What its queries are answered by."""

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Answer B queries of one strategy with slates of k, and find the B items that users went on to in them."""

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Take a ranker that was trained meanwhile, where it goes by one."""

    def server(self, table: ItemTable) -> Callable[[Query], object]:
        """Make ready what answers one query as a flow would; what is timed is the answer."""


class Pipeline:
    """The recommender itself, by some strategy.

    The rank is the position on the slate; a candidate that scored the same and stands behind it counts as before it.

    Parameters
    ----------
    learns : whether it takes the rankers that the backtest trains; until the first, its order is the blend's.
    """

    def __init__(self, name: str, strategy: Strategy, *, learns: bool = False) -> None:
        self.name = name
        self.strategy = strategy
        self._learns = learns
        self._checkpoint: Checkpoint | None = None

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Take a ranker that was trained meanwhile; None is one that was not worth it."""
        if self._learns:
            self._checkpoint = checkpoint
            self.strategy = replace(self.strategy, ranker=checkpoint.kind if checkpoint else "blend")

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Answer queries by the pipeline's own functions."""
        recommender = Recommender(table, self._checkpoint)
        rows = table.rows_of(hash_all(list(truth)))[:, None]  # (B, 1)
        parts = [
            self._predict(recommender, queries[first : first + MOST_AT_ONCE], rows[first : first + MOST_AT_ONCE])
            for first in range(0, len(queries), MOST_AT_ONCE)
        ]
        return Predictions(np.concatenate([p.ranks for p in parts]), np.concatenate([p.rows for p in parts]))

    def server(self, table: ItemTable) -> Callable[[Query], object]:
        """Serve whole slates, one at a time."""
        recommender = Recommender(table, self._checkpoint)
        return lambda query: recommender.recommend([query])

    def _predict(self, recommender: Recommender, queries: Sequence[Query], truth: Int32s) -> Predictions:
        ranked = recommender.rank([replace(query, strategy=self.strategy) for query in queries])
        chosen = recommender.choose(ranked).positions  # (B, k) indices among the candidates
        rows = np.where(chosen >= 0, np.take_along_axis(ranked.blended.rows, np.maximum(chosen, 0), axis=1), -1)
        hits = (rows == truth) & (truth >= 0)  # (B, k)
        position = hits.argmax(axis=1)
        candidate = np.take_along_axis(chosen, position[:, None], axis=1)  # (B, 1)
        own = np.take_along_axis(ranked.scores, candidate, axis=1)
        behind = (ranked.scores == own) & (ranked.blended.rows >= 0)  # (B, C) as good as the true item
        for column in range(chosen.shape[1]):
            before = chosen[:, column] >= 0
            before &= column <= position
            behind[before, chosen[before, column]] = False
        return Predictions(np.where(hits.any(axis=1), position + 1 + behind.sum(axis=1), 0), rows)


@dataclass(frozen=True, slots=True)
class Popularity:
    """What was acted on most often since the beginning, the same for everybody but for what the rules forbid."""

    name: str
    strategy: Strategy
    counts: ItemCounts

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Rank all items by their counts; an item never acted on is not recommended."""
        rows = table.rows_of(hash_all(list(truth)))
        batch = QueryBatch.from_queries([replace(query, strategy=self.strategy) for query in queries], table)
        counts = self.counts.by_row(table) * usable(table, batch.locked)
        ranks = np.zeros(len(queries), np.int64)
        slates = np.full((len(queries), self.strategy.n_items), -1, np.int32)
        for b, row in enumerate(rows.tolist()):
            marked = batch.marks.rows[batch.marks.starts[b] : batch.marks.starts[b + 1]]
            allowed = counts.copy()
            allowed[marked] = 0
            if row >= 0 and allowed[row] > 0:
                ranks[b] = (allowed >= allowed[row]).sum()
            best = _best(allowed, table.hashes, self.strategy.n_items)
            slates[b, : len(best)] = best
        return Predictions(ranks, slates)

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Popularity goes by no ranker."""

    def server(self, table: ItemTable) -> Callable[[Query], object]:
        """Serve lists, one at a time."""
        return lambda query: self.predict([query], table, [""])


def _best(counts: Int64s, hashes: Int64s, k: int) -> Int64s:
    """Find the k largest counts above 0, ties by hash."""
    k = min(k, len(counts))
    if not k:
        return np.empty(0, np.int64)
    least = max(int(np.partition(counts, -k)[-k]), 1)
    found = np.flatnonzero(counts >= least)
    return found[np.lexsort((hashes[found], -counts[found]))][:k]


def as_asked(strategy: Strategy, config: BacktestConfig) -> Strategy:
    """Put a strategy under the rules of a backtest: the slate's length, what may return, and no exploration.

    What is drawn by chance is shown to learn from the answer, and the past gives none on what it did not show.
    """
    return replace(
        strategy,
        n_items=config.k,
        n_candidates=max(strategy.n_candidates, config.k),
        exploration_slots=0,
        allow_seen=not config.exclude_seen,
        allow_owned=not config.exclude_seen,
        allow_current=config.repeats == "keep",
    )


def contenders(strategy: Strategy, config: BacktestConfig, counts: ItemCounts) -> list[Contender]:
    """List all that is compared.

    Baselines and rankers are judged by their order alone, without caps and diversity; the default as it serves.

    Parameters
    ----------
    strategy : the default.
    counts : what the all-time popularity goes by.
    """
    served = as_asked(strategy, config)
    plain = ordered_only(served)
    compared: list[Contender] = [
        Popularity("popularity", plain, counts),
        *(Pipeline(name, replace(plain, sources={source: 1.0})) for name, source in BASELINES.items()),
        Pipeline("blend", plain),
        Pipeline(config.fit.kind, plain, learns=True),
        Pipeline(DEFAULT, replace(served, ranker="blend"), learns=True),
    ]
    if config.checkpoint is not None:
        for contender in compared:
            contender.adopt(config.checkpoint)
    return compared


def ordered_only(strategy: Strategy) -> Strategy:
    """Leave a strategy its order, by the blend, and take away what changes it afterwards."""
    return replace(strategy, ranker="blend", diversity=0, max_per_category=10_000)


def time_alone(contender: Contender, queries: Sequence[Query], table: ItemTable, timer: Timer) -> list[float]:
    """Time the slate of each query, in microseconds."""
    serve = contender.server(table)
    times = []
    for query in queries:
        asked = replace(query, strategy=contender.strategy)
        started = timer()
        serve(asked)
        times.append((timer() - started) / 1_000)
    return times
