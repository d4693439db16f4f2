"""The recommender itself as a contender, and the rules that a backtest puts every strategy under."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Int32s
from models.numeric.ids import hash_all
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.contender import Predictions
from models.rankers.checkpoint import Checkpoint
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import SessionSources, Strategy
from models.user.query import Query


class Pipeline:
    """The recommender itself, by some strategy.

    The rank is the position on the slate; a candidate that scored the same and stands behind it counts as before it.

    Parameters
    ----------
    learns : whether it takes the rankers that the backtest trains; until the first, its order is the blend's.
    blends : whether it takes the weights of the sources that the backtest fits.
    """

    def __init__(self, name: str, strategy: Strategy, *, learns: bool = False, blends: bool = False) -> None:
        self.name = name
        self.strategy = strategy
        self._learns = learns
        self._blends = blends
        self._checkpoint: Checkpoint | None = None

    def adopt(self, checkpoint: Checkpoint | None) -> None:
        """Take a ranker that was trained meanwhile; None is one that was not worth it."""
        if self._learns:
            self._checkpoint = checkpoint
            self.strategy = replace(self.strategy, ranker=checkpoint.kind if checkpoint else "blend")

    def reweigh(self, by_session: tuple[SessionSources, ...]) -> None:
        """Take weights of the sources that were fitted meanwhile."""
        if self._blends:
            self.strategy = replace(self.strategy, sources_by_session=by_session)

    def predict(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> Predictions:
        """Answer queries by the pipeline's own functions."""
        recommender = Recommender(table, self._checkpoint)
        rows = table.rows_of(hash_all(list(truth)))[:, None]  # (B, 1)
        parts = [
            self._predict(recommender, queries[first : first + MOST_AT_ONCE], rows[first : first + MOST_AT_ONCE])
            for first in range(0, len(queries), MOST_AT_ONCE)
        ]
        ranks, slates, are_candidates = zip(*parts, strict=True)
        return Predictions(np.concatenate(ranks), np.concatenate(slates), np.concatenate(are_candidates))

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
        ranks = np.where(hits.any(axis=1), position + 1 + behind.sum(axis=1), 0)
        return Predictions(ranks, rows, ((ranked.blended.rows == truth) & (truth >= 0)).any(axis=1))


def as_asked(strategy: Strategy, config: BacktestConfig) -> Strategy:
    """Put a strategy under the rules of a backtest: the slate's length, what may return, and no exploration.

    Categories may have the same share of a slate that is longer or shorter.

    What is drawn by chance is shown to learn from the answer, and the past gives none on what it did not show.
    """
    return replace(
        strategy,
        n_items=config.k,
        max_per_category=-(-strategy.max_per_category * config.k // strategy.n_items),
        n_candidates=max(strategy.n_candidates, config.k),
        exploration_slots=0,
        cold_share=0.0,
        allow_seen=not config.exclude_seen,
        allow_owned=not config.exclude_seen,
        allow_current=config.repeats == "keep",
    )


def ordered_only(strategy: Strategy) -> Strategy:
    """Leave a strategy its order, by the blend, and take away what changes it afterwards."""
    return replace(strategy, ranker="blend", diversity=0, max_per_category=10_000)
