"""From queries to slates, each stage one pass over a batch, called from here.

The way of a query through `Recommender.recommend`, with B queries, C candidates and L positions:

    with_rivals               an interleaved query becomes two              serving/rivals.py
    groups                    queries that can be ranked together
    rank
        QueryBatch            profiles and rules as arrays                  query/batch.py, query/rules.py
        blend                 the sources' candidates, merged: (B, C)       candidates/blend.py, a file a source
        bound_untried         where new items have a budget, no more        serving/cold.py
        with_pinned           and what rules place beside them              serving/ruled.py
        inputs_of             features, where a ranker asks: (B, C, F)      features/table.py
        Ranker.score          (B, C)                                        rankers/served.py
        apply_rules           scores that rules move, quotas                serving/ruled.py
    rerank                    diversity, caps, exploration: (B, L)          serving/rerank.py
    Ranked.at                 what is logged of these                       serving/ranked.py, features/table.py
    build_slates              messages, with a reason for each item         serving/slates.py, phrases.py
    merge_rivals              two slates become one                         serving/rivals.py
    with_chances              where a funnel is learned, its probabilities  serving/chances.py
    Draft.finished            what goes by all of a slate's items           serving/slates.py
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from models.candidates.blend import EVERY_SOURCE, blend
from models.items import ItemTable
from models.messages import Slate
from models.names import FUNNEL, RANKERS, SEQUENCE
from models.phrases import Phrases, phrases_of
from models.query.batch import QueryBatch
from models.query.rules import Resolved, rules_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.served import FunnelRanker, Ranker, served
from models.serving.chances import with_chances, worth_of
from models.serving.cold import bound_untried, is_budgeted, pool_of
from models.serving.filling import Reranked
from models.serving.ranked import Ranked, inputs_of
from models.serving.rerank import rerank
from models.serving.rivals import merge_rivals, with_rivals
from models.serving.ruled import Pin, apply_rules, with_pinned
from models.serving.slates import Draft, build_slates, may_sample, recommendation_id
from models.strategy import Strategy
from models.user.query import Query

BLEND = "blend"
"""The order that needs no ranker."""
MOST_AT_ONCE = 128
"""Queries ranked together: enough to share the fixed costs, few enough for their arrays to stay in cache."""


class Recommender:
    """Answers queries from an item table and, where a strategy asks for it, a trained ranker.

    It keeps nothing between two calls; a slate depends on its query, the table, the checkpoint and the flow's
    name alone, not on the queries beside it.

    Parameters
    ----------
    table
        What is known about the items. Nobody may change it during a call.
    checkpoint
        A trained ranker, for strategies that ask for its kind; others may come later (`swap`).
    flow
        Part of each recommendation's id.
    n_threads
        Parts of a large batch that are answered at once: kernels and tensors run beside each other, without the
        interpreter's lock.
    awaited
        Rankers that may come later: until then their strategies are served by the blend, and their slates say so.
    device
        Where networks compute, as PyTorch names it.
    phrases
        The words for reasons.
    log_features
        Whether slates carry what a ranker looks at of their items, for who learns from them.
    """

    table_version: str
    """Written on each slate behind the ranker's version; the caller sets it when the table changes."""

    def __init__(
        self,
        table: ItemTable,
        checkpoint: Checkpoint | None = None,
        flow: str = "recommend",
        n_threads: int = 1,
        awaited: Collection[str] = (),
        device: str = "cpu",
        phrases: Phrases | None = None,
        *,
        log_features: bool = False,
    ) -> None:
        self.table = table
        self.flow = flow
        self.table_version = ""
        self._awaited = frozenset(awaited)
        self._device = device
        self._phrases = phrases or phrases_of("en")
        self._log_features = log_features
        self._rankers: dict[str, tuple[Ranker, str]] = {}
        self._threads = ThreadPoolExecutor(n_threads, "recommend") if n_threads > 1 else None
        if checkpoint is not None:
            self.swap(checkpoint.kind, checkpoint)

    def swap(self, name: str, checkpoint: Checkpoint | None) -> None:
        """Put a ranker in the place of the one with that name; nobody may do so during a call.

        Parameters
        ----------
        name
            The strategies' name of it; `name.variant` serves only the slates of that variant.
        checkpoint
            None takes the ranker away: the blend serves in its place.
        """
        if checkpoint is None:
            self._rankers.pop(name, None)
            self._awaited |= {name}
        else:
            self._rankers[name] = served(checkpoint.model, self._device), checkpoint.version

    def versions(self) -> dict[str, str]:
        """Name the version of each ranker that is loaded."""
        return {name: version for name, (_, version) in list(self._rankers.items())}

    def require(self, strategy: Strategy) -> None:
        """Check that a strategy can be served; a flow does so at start, for each of its variants.

        Raises
        ------
        ValueError
            Where the strategy asks for a ranker that is not loaded.
        """
        if strategy.ranker not in {BLEND, *self._rankers, *self._awaited}:
            raise ValueError(
                f"the strategy asks for the ranker {strategy.ranker!r}, but no checkpoint of it is loaded, and nobody "
                "learns it: set EDDY_RANKER__NAME or EDDY_CHECKPOINT (EDDY_FUNNEL__LEARN for the funnel)"
            )

    def recommend(self, queries: list[Query]) -> list[Slate]:
        """Make one slate a query, in the same order.

        Raises
        ------
        ValueError
            Where a strategy cannot be served (see `require`).
        """
        asked = with_rivals(queries)
        drafts: list[Draft | None] = [None] * len(asked)
        groups = self.groups(asked)
        run = map if self._threads is None or len(groups) == 1 else self._threads.map
        made = run(lambda members: self._drafts(self.rank([asked[m] for m in members])), groups)
        for members, group in zip(groups, made, strict=True):
            for m, draft in zip(members, group, strict=True):
                drafts[m] = draft
        merged = merge_rivals(queries, [draft for draft in drafts if draft is not None])
        if (funnel := self._funnel) is not None:
            with_chances(merged, funnel)
        return [draft.finished(log_features=self._log_features) for draft in merged]

    @property
    def _funnel(self) -> FunnelRanker | None:
        ranker, _ = self._rankers.get(FUNNEL, (None, ""))
        return ranker if isinstance(ranker, FunnelRanker) else None

    def _drafts(self, ranked: Ranked) -> list[Draft]:
        """Make the slates of what can be on them."""
        reranked = self.choose(ranked)
        version = ranked.version
        if self.table.learned is not None and SEQUENCE in ranked.batch.strategy.asked_sources:
            version += f"+{self.table.learned.encoder.version}"
        if self.table_version:
            version += f"@{self.table_version}"
        chosen = ranked.at(reranked.positions, featurised=self._log_features or self._funnel is not None)
        return build_slates(ranked, chosen, reranked, version, self._phrases)

    def rank(self, queries: list[Query]) -> Ranked:
        """Find and score the candidates of queries that can be ranked together (see `groups`)."""
        self.require(queries[0].strategy)
        ranker_name = self._ranker_of(queries[0])
        ids = [recommendation_id(self.flow, query.user_id, query.trigger, query.trigger_id) for query in queries]
        batch = QueryBatch.from_queries(queries, self.table)
        has_budget = is_budgeted(queries[0])
        blended = blend(batch, self.table, _n_candidates(batch))
        if has_budget:
            blended = bound_untried(blended, batch, self.table)
        pins: list[list[Pin]] = []
        if batch.rules:
            blended, pins = with_pinned(blended, batch, self.table, [_n_items(query) for query in queries])
        ranked = self._scored(Ranked(ids, batch, self.table, blended, blended.scores, BLEND), ranker_name)
        if has_budget:
            ranked.cold = pool_of(batch, self.table, ranked.seeds, blended.rows[:, -1] < 0)
        if batch.rules:
            ranked.scores, ranked.ruled = apply_rules(ranked.scores, blended.rows, pins, batch, self.table, ranked.cold)
        return ranked

    def _scored(self, ranked: Ranked, ranker_name: str) -> Ranked:
        """Let a ranker score candidates that have the blend's scores."""
        if ranker_name == BLEND:
            return ranked
        batch, blended = ranked.batch, ranked.blended
        ranker, version = self._rankers[ranker_name]
        inputs = inputs_of(batch, self.table, blended)
        # No ranker is trained on searches: their order is the blend's, where the match leads.
        is_search = np.array([bool(query.query) for query in batch.queries])
        scores = ranker.score(inputs)
        if isinstance(ranker, FunnelRanker):
            chances = ranker.chances(inputs.features, np.zeros(scores.shape, np.int64))
            scores = worth_of(chances, blended.rows, self.table, batch.strategy.worth)
        scores = np.where(is_search[:, None], blended.scores, scores)
        return replace(ranked, scores=scores, version=version, ranker_inputs=inputs)

    def choose(self, ranked: Ranked) -> Reranked:
        """Fill each slate's positions from its ranked candidates; its id seeds what is drawn."""
        n_items, rules = [_n_items(query) for query in ranked.batch.queries], ranked.ruled
        if rules is not None:
            n_items = [n - len(pins) for n, pins in zip(n_items, rules.pins, strict=True)]
        reranked = rerank(
            ranked.blended.rows,
            ranked.scores,
            n_items,
            ranked.seeds,
            ranked.batch.strategy,
            self.table,
            [may_sample(query) for query in ranked.batch.queries] if ranked.batch.strategy.sampled else None,
            None if rules is None else rules.quotas,
            ranked.cold,
        )
        return reranked if rules is None else rules.placed(reranked)

    def _ranker_of(self, query: Query) -> str:
        """Name the ranker of a query: its variant's own, else its strategy's, and the blend until that has come."""
        name = query.strategy.ranker
        for own in (f"{name}.{query.variant}", name):
            if own in self._rankers:
                return own
        return BLEND

    def groups(self, queries: list[Query]) -> list[list[int]]:
        """Split a batch into positions that share what `rank` takes as one: strategy, rules, ranker, candidates."""
        groups: list[tuple[Strategy, tuple[Resolved, ...], str, bool, bool, int, list[int]]] = []
        for position, query in enumerate(queries):
            own, ranker, rules = query.candidates is not None, self._ranker_of(query), rules_of(query)
            budget = is_budgeted(query)
            n_candidates = 0 if own else max(query.strategy.n_candidates, _n_items(query))
            for strategy, held, name, *kind, members in groups:
                same = (strategy is query.strategy or strategy == query.strategy) and held == rules
                if same and name == ranker and kind == [own, budget, n_candidates] and len(members) < MOST_AT_ONCE:
                    members.append(position)
                    break
            else:
                groups.append((query.strategy, rules, ranker, own, budget, n_candidates, [position]))
        return [members for *_, members in groups]

    def warm_up(self) -> None:
        """Compile or load every kernel, so that no slate waits for it."""
        for name in RANKERS:
            if name not in {BLEND, *self._rankers}:
                continue
            query = Query("warm-up", "event", "warm-up", self.table.landmark_at, Strategy(ranker=name))
            self.recommend([query, replace(query, query="warm up"), replace(query, candidates=["warm-up"])])
        batch = QueryBatch.from_queries([query], self.table)
        for source in EVERY_SOURCE:
            source.explain(batch, self.table, np.full((1, 1), -1, np.int32), np.full((1, 1), -1, np.int64))


def _n_items(query: Query) -> int:
    return query.n_items or query.strategy.n_items


def _n_candidates(batch: QueryBatch) -> int:
    """How many candidates are ranked: all of a query's own, else the strategy's number, at least a slate."""
    if batch.own:
        return max(1, int(np.diff(batch.marks.starts).max()))
    return max(batch.strategy.n_candidates, _n_items(batch.queries[0]))
