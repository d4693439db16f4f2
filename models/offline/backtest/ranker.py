"""The ranker of a backtest: trained on the past as `eddy train` would, and taken only where it beats the blend."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.messages import Event, Item
from models.numeric.ids import hash64
from models.numeric.metrics import Accuracy, ranks_of
from models.offline.backtest.config import BacktestConfig, Progress
from models.offline.backtest.pipeline import ordered_only
from models.offline.backtest.sequence_models import train_encoders
from models.offline.fitting import LEAST_EXAMPLES, MAX_EXAMPLES, Gathered, refitted, validated
from models.offline.source_pools import MAX_POOLS, PoolGatherer
from models.offline.source_weights import fit_sources
from models.offline.walk import Examples, WalkConfig, labelled, ranked_slates, slates_due
from models.online.growing_model import SequenceAct
from models.online.sequence_learner import SequenceLearner
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.network import Network
from models.rankers.served import BlendRanker, NetworkRanker
from models.sequence.encoder import SequenceEncoder
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import SessionSources, Strategy
from models.user.query import Query

LEARNED_AT_ONCE = WalkConfig().publish_every
"""Events that tables learn between two looks at them, as in a walk."""
DECIDED_EVERY = 16
"""Steps of the sequence model that goes on learning between two decisions whether it is better."""
COLD_SHARE = 0.2
"""First share of the events, of which no example is made: the tables know too little yet."""


def trained(
    gathered: Gathered,
    config: BacktestConfig,
    progress: Progress,
    asked: Gathered | None = None,
    reweighed: Strategy | None = None,
) -> Checkpoint | None:
    """Train on all that was gathered; None where that is too little, or no better than the blend on what is held out.

    Where nothing is to be trained, the checkpoint that was brought is returned.

    Parameters
    ----------
    asked : examples of the very question that is judged, none of which was gathered: they are held out; None: the
        newest of those gathered are.
    reweighed : whose weights of the sources serve, where the examples were made by others.
    """
    if not config.trains:
        return config.checkpoint
    if gathered.n < LEAST_EXAMPLES or (asked is not None and not asked.n):
        return None
    examples, fit_config, start = gathered.all(), config.fit, config.checkpoint
    known = examples
    if asked is not None:
        known = Examples.joined([examples, asked.all()])
        fit_config = replace(fit_config, valid_share=asked.n / known.n)

    if reweighed is not None:
        examples.blend_by(reweighed)
        known.blend_by(reweighed)

    def report(epoch: int, _loss: float, _valid: float) -> None:
        progress("fitting the ranker", epoch, fit_config.max_epochs)

    found = validated(known, fit_config, report, start)
    if not _wins(found.model, found.held_out, config.k):
        return None
    model = refitted(examples, fit_config, found.n_epochs, report, start)
    digest = weights_digest(model)
    return Checkpoint(model, f"backtest-{digest[:8]}", digest)


def _wins(model: Network, held_out: Examples, k: int) -> bool:
    """Say whether a model beats the blend on the examples that were held out."""
    learned, blend = Accuracy(k), Accuracy(k)
    for accuracy, ranker in ((learned, NetworkRanker(model)), (blend, BlendRanker())):
        accuracy.add(ranks_of(ranker.score(held_out.inputs), held_out.present, held_out.label_index))
    return learned.mrr > blend.mrr and learned.hit_rate > blend.hit_rate


def fits_sources(strategy: Strategy, config: BacktestConfig) -> bool:
    """Say whether a strategy's weights of the sources are to be fitted: it has none by session."""
    return config.fits_sources and not strategy.sources_by_session


class AskedExamples:
    """Examples of some of the very questions that are judged.

    Parameters
    ----------
    strategy : whose candidates are ranked.
    n_targets : about how many acts there will be.
    """

    def __init__(self, strategy: Strategy, config: BacktestConfig, n_targets: int) -> None:
        self.strategy = ordered_only(strategy)
        self._share = MAX_EXAMPLES / max(n_targets, 1)
        self._rng = np.random.default_rng(config.seed)
        self.gathered = Gathered(1.0, config.seed)

    def observe(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> None:
        """Make examples of some of B queries and the items that their users went on to, which no table knows yet."""
        drawn = np.flatnonzero(self._rng.random(len(queries)) < self._share).tolist()
        kept = [b for b in drawn if not queries[b].query]  # no ranker orders searches
        for first in range(0, len(kept), MOST_AT_ONCE):
            part = kept[first : first + MOST_AT_ONCE]
            ranked = Recommender(table).rank([replace(queries[b], strategy=self.strategy) for b in part])
            at = np.array([queries[b].at for b in part], np.int64)
            self.gathered.add(labelled(ranked, table, [truth[b] for b in part], at))


class PrequentialTrainer:
    """Trains rankers on the stream that is judged, each on what lies before it: another one when the past has doubled.

    A sequence model is trained once, and goes on learning from then on.

    Parameters
    ----------
    strategy : whose candidates are ranked.
    n_targets : about how many acts there will be.
    """

    def __init__(self, strategy: Strategy, config: BacktestConfig, n_targets: int) -> None:
        self._strategy = strategy
        self._config = config
        self._examples = AskedExamples(strategy, config, n_targets)
        self._pools = PoolGatherer(strategy, MAX_POOLS / max(n_targets, 1), config.seed)
        self._is_reweighed = False
        self._due_at = max(1, round(config.warmup * n_targets))
        self._n = 0
        self._learner: SequenceLearner | None = None

    def observe(self, queries: Sequence[Query], table: ItemTable, truth: Sequence[str]) -> None:
        """Take in B queries and the items that their users went on to, which no table knows yet."""
        self._n += len(queries)
        if self._config.trains:
            self._examples.observe(queries, table, truth)
        if fits_sources(self._strategy, self._config):
            self._pools.observe(queries, table, truth)

    def is_due(self) -> bool:
        """Say whether the past has doubled since this was last so."""
        if self._n < self._due_at:
            return False
        self._due_at = 2 * self._n
        return True

    def train(self, progress: Progress) -> Checkpoint | None:
        """Train a ranker on what was taken in; None where none is trained, or the blend is as good."""
        if not self._config.trains:
            return None
        reweighed = self._examples.strategy if self._is_reweighed else None
        return trained(self._examples.gathered, self._config, progress, reweighed=reweighed)

    def fit_sources(self) -> tuple[SessionSources, ...] | None:
        """Fit the sources' weights to what was taken in, for the rankers after it; None: what was is as good."""
        fitted = fit_sources(self._pools.all(), self._strategy)
        if fitted is None:
            return None
        self._is_reweighed = True
        self._examples.strategy = replace(self._examples.strategy, sources_by_session=fitted.by_session)
        return fitted.by_session

    def train_sequence(self, past: Sequence[Event], table: ItemTable, progress: Progress) -> SequenceEncoder | None:
        """Train a sequence model on a past, in time order, once; None where none is trained, or too little is known."""
        if not self._config.trains_sequence or self._learner is not None:
            return None
        models = train_encoders(past, table, self._config, progress, earlier_shares=())
        if models is None:
            return None
        self._learner = SequenceLearner(models.later)
        self._learner.remember(_acts(past, self._config.events))
        return models.later.encoder()

    def follow(self, events: Sequence[Event], table: ItemTable) -> SequenceEncoder | None:
        """Let the sequence model learn what came; return it where it is better than the one in service."""
        if self._learner is None:
            return None
        before = self._learner.n_steps // DECIDED_EVERY
        self._learner.learn(_acts(events, self._config.events), table)
        if self._learner.n_steps // DECIDED_EVERY == before:
            return None
        better = self._learner.decide(table)
        return better.encoder() if better else None


def _acts(events: Sequence[Event], config: EventConfig) -> Iterator[SequenceAct]:
    return (
        SequenceAct(hash64(event.user_id), hash64(event.item_id), event.timestamp)
        for event in events
        if config.is_act(event)
    )


class LearnedFile(NamedTuple):
    """What a training file has taught."""

    side: ItemSide
    checkpoint: Checkpoint | None
    """The ranker; None where none was trained, or none was worth it."""
    by_session: tuple[SessionSources, ...]
    """Weights of the sources that were worth it, else those of the strategy."""


def learn_with_ranker(
    train: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    progress: Progress,
) -> LearnedFile:
    """Learn prepared events in time order; train a ranker and fit weights, where that is asked for, on their slates.

    Where a sequence model is trained as well, those slates are asked for with models that have not seen them.

    Each slate is made at its trigger, from tables that have learned nothing of it; what the user did next is its label.
    """
    side = ItemSide(items, train[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    warm_at = train[int(COLD_SHARE * len(train))].timestamp
    models = train_encoders(train, side.table, config, progress) if config.trains_sequence else None
    readers = models.earlier if models else ((warm_at, None),)
    checkpoint, by_session = _learn(train, side, readers, strategy, config, progress)
    side.read_with(models.later.encoder() if models else None)
    return LearnedFile(side, checkpoint, by_session)


def _learn(
    train: Sequence[Event],
    side: ItemSide,
    readers: Sequence[tuple[int, SequenceEncoder | None]],
    strategy: Strategy,
    config: BacktestConfig,
    progress: Progress,
) -> tuple[Checkpoint | None, tuple[SessionSources, ...]]:
    """Let the tables learn, and learn from the slates from the first moment on, each asked for by its reader."""
    if not config.trains and not fits_sources(strategy, config):
        for start in range(0, len(train), LEARNED_AT_ONCE):
            side.learn(train[start : start + LEARNED_AT_ONCE])
            progress("learning", min(start + LEARNED_AT_ONCE, len(train)), len(train))
        return config.checkpoint, strategy.sources_by_session
    (warm_at, reader), *waiting = readers
    side.read_with(reader)
    n_warm = max(1, sum(event.timestamp >= warm_at for event in train))
    gathered = Gathered(MAX_EXAMPLES / n_warm, config.seed)
    pools = PoolGatherer(strategy, MAX_POOLS / n_warm if fits_sources(strategy, config) else 0.0, config.seed)
    walked = WalkConfig((strategy,), config.events, config.profile, config.item_side, config.texts)
    for due in slates_due(train, side, walked, lambda n, of: progress("learning", n, of)):
        warm = [(query, act) for query, act in due if query.at >= warm_at]
        pools.observe([query for query, _ in warm], side.table, [act.item_id for _, act in warm])
        if config.trains:
            for examples in ranked_slates(warm, side.table, walked.strategies):
                gathered.add(examples)
        while waiting and due[-1][0].at >= waiting[0][0]:
            side.read_with(waiting.pop(0)[1])
    fitted = fit_sources(pools.all(), strategy)
    if fitted is None:
        return trained(gathered, config, progress), strategy.sources_by_session
    reweighed = replace(strategy, sources_by_session=fitted.by_session)
    return trained(gathered, config, progress, reweighed=reweighed), fitted.by_session
