"""From queries to slates: candidates, features, ranking, re-ranking, each one pass over the batch."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.arrays import Floats
from models.candidates.blend import Blended, blend
from models.candidates.every_source import every_source
from models.items import ItemTable
from models.messages import Slate
from models.query import Query
from models.ranking.batch import QueryBatch, usable
from models.ranking.blend import BlendRanker
from models.ranking.checkpoint import Checkpoint
from models.ranking.features import featurise
from models.ranking.mlp import MLPRanker
from models.reranking import Reranked, rerank
from models.slates import build_slates, recommendation_id
from models.strategy import Strategy

if TYPE_CHECKING:
    from models.candidates.protocol import CandidateSource
    from models.ranking.protocol import Ranker

MOST_AT_ONCE = 128
"""Queries ranked together: enough to share the fixed costs, few enough for their arrays to stay in cache."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The scored candidates of a batch: what a slate is chosen from, and what training and tuning look at."""

    batch: QueryBatch
    blended: Blended
    features: Floats
    """(B, C, F)"""
    scores: Floats
    """(B, C)"""


class Recommender:
    """Answers queries from an item table and, where a strategy asks for it, a trained ranker.

    It keeps nothing between two calls; a slate depends on its query, the table, the checkpoint and the flow's
    name alone, not on the queries beside it.

    Parameters
    ----------
    table
        What is known about the items. Nobody may change it during a call.
    checkpoint
        The trained ranker, for strategies whose ranker is `mlp`.
    flow
        Part of each recommendation's id.
    n_threads
        Parts of a large batch that are answered at once: kernels and tensors run beside each other, without the
        interpreter's lock.
    """

    model_version: str
    """Written on each slate; the caller sets it when the table or the checkpoint changes."""

    def __init__(
        self, table: ItemTable, checkpoint: Checkpoint | None = None, flow: str = "recommend", n_threads: int = 1
    ) -> None:
        self.table = table
        self.flow = flow
        self.model_version = checkpoint.version if checkpoint else "blend"
        self._sources: dict[str, CandidateSource] = {source.name: source for source in every_source()}
        self._rankers: dict[str, Ranker] = {"blend": BlendRanker()}
        self._threads = ThreadPoolExecutor(n_threads, "recommend") if n_threads > 1 else None
        if checkpoint is not None:
            self._rankers["mlp"] = MLPRanker(checkpoint.model)

    def require(self, strategy: Strategy) -> None:
        """Check that a strategy can be served; a flow does so at start, for each of its variants.

        Raises
        ------
        ValueError
            Where the strategy asks for a ranker that is not loaded.
        """
        if strategy.ranker not in self._rankers:
            raise ValueError(f"the strategy asks for the ranker {strategy.ranker!r}, but no checkpoint is loaded")

    def recommend(self, queries: list[Query]) -> list[Slate]:
        """Make one slate a query, in the same order.

        Raises
        ------
        ValueError
            Where a strategy cannot be served (see `require`).
        """
        slates: list[Slate | None] = [None] * len(queries)
        groups = _groups(queries)
        run = map if self._threads is None or len(groups) == 1 else self._threads.map
        made = run(lambda members: self._slates(self.rank([queries[m] for m in members])), groups)
        for members, group in zip(groups, made, strict=True):
            for m, slate in zip(members, group, strict=True):
                slates[m] = slate
        return [slate for slate in slates if slate is not None]

    def rank(self, queries: list[Query]) -> Ranked:
        """Find and score the candidates of queries that can be ranked together (see `_groups`)."""
        strategy = queries[0].strategy
        self.require(strategy)
        batch = QueryBatch.from_queries(queries, self.table)
        blended = blend(batch, self.table, usable(self.table), self._sources, _n_candidates(batch))
        features = featurise(batch, self.table, blended)
        scores = self._rankers[strategy.ranker].score(features)
        # No ranker is trained on searches: their order is the blend's, where the match leads.
        is_search = np.array([bool(query.query) for query in queries])
        return Ranked(batch, blended, features, np.where(is_search[:, None], blended.scores, scores))

    def warm_up(self) -> None:
        """Compile or load every kernel, so that no slate waits for it."""
        for ranker in self._rankers:
            strategy = Strategy(ranker="mlp" if ranker == "mlp" else "blend")
            query = Query("warm-up", "event", "warm-up", self.table.landmark_at, strategy)
            self.recommend([query, replace(query, query="warm up"), replace(query, candidates=["warm-up"])])
        batch = QueryBatch.from_queries([query], self.table)
        for source in self._sources.values():
            source.causes(batch, self.table, np.full((1, 1), -1, np.int32))

    def choose(self, ranked: Ranked) -> Reranked:
        """Fill each slate's positions from its ranked candidates."""
        return self._choose(ranked, self._names(ranked.batch))

    def _names(self, batch: QueryBatch) -> list[str]:
        return [recommendation_id(self.flow, query.user_id, query.trigger, query.trigger_id) for query in batch.queries]

    def _choose(self, ranked: Ranked, names: list[str]) -> Reranked:
        return rerank(
            ranked.blended.rows,
            ranked.scores,
            np.array([_n_items(query) for query in ranked.batch.queries], np.int32),
            np.array([int(name[:16], 16) for name in names], np.uint64),
            ranked.batch.strategy,
            self.table,
        )

    def _slates(self, ranked: Ranked) -> list[Slate]:
        names = self._names(ranked.batch)
        return build_slates(
            ranked.batch,
            self.table,
            self._sources,
            names,
            ranked.blended,
            ranked.features,
            ranked.scores,
            self._choose(ranked, names),
            self.model_version,
        )


def _n_items(query: Query) -> int:
    return query.n_items or query.strategy.n_items


def _n_candidates(batch: QueryBatch) -> int:
    """How many candidates are ranked: all of a query's own, else the strategy's number, at least a slate."""
    if batch.own:
        return max(1, int(np.diff(batch.marks.starts).max()))
    return max(batch.strategy.n_candidates, _n_items(batch.queries[0]))


def _groups(queries: list[Query]) -> list[list[int]]:
    """Part a batch into positions that share a strategy, a number of candidates, and who brings them."""
    groups: list[tuple[Strategy, bool, int, list[int]]] = []
    for position, query in enumerate(queries):
        own = query.candidates is not None
        n_candidates = 0 if own else max(query.strategy.n_candidates, _n_items(query))
        for strategy, has_own, n, members in groups:
            same = strategy is query.strategy or strategy == query.strategy
            if same and has_own == own and n == n_candidates and len(members) < MOST_AT_ONCE:
                members.append(position)
                break
        else:
            groups.append((query.strategy, own, n_candidates, [position]))
    return [members for _, _, _, members in groups]
