"""The ranker of a backtest: trained on the past as `eddy train` would, and taken only where it earns its place."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.counts.item_side import ItemSide
from models.items import ItemTable
from models.messages import Event, Item
from models.numeric.arrays import Bools, Int64s
from models.numeric.metrics import Accuracy, ranks_of
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.field import ordered_only
from models.offline.backtest.past_sessions import SessionNames
from models.offline.backtest.session_protocol import Progress
from models.offline.train import Gathered
from models.offline.walk import WalkConfig, labelled, walk
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.fit import TrainConfig, fit
from models.rankers.inputs import Inputs
from models.rankers.network import Network
from models.rankers.served import BlendRanker, NetworkRanker
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import Strategy
from models.user.query import Query

MAX_EXAMPLES = 60_000
"""About so many are kept, drawn at random; 18 KB each."""
COLD_SHARE = 0.2
"""First share of the events, of which no example is made: the tables know too little yet."""
LEAST_EXAMPLES = 200
"""With fewer, nothing is trained."""


class RankerLearner:
    """Gathers examples and makes rankers of them.

    Parameters
    ----------
    share : of the examples that are kept.
    k : length of the slates that are to be good.
    """

    def __init__(self, share: float, k: int, seed: int = 0) -> None:
        self.k = k
        self.seed = seed
        self.gathered = Gathered(min(share, 1.0), seed)

    def ranker(self, progress: Progress) -> Checkpoint | None:
        """Train on all that was gathered; None where that is too little, or no better than the blend on its end."""
        if self.gathered.n < LEAST_EXAMPLES:
            return None
        lists = self.gathered.lists()
        config = TrainConfig(seed=self.seed)

        def report(epoch: int, _loss: float, _valid: float) -> None:
            progress("fitting the ranker", epoch, config.max_epochs)

        if not _wins(fit(*lists, config, report), lists, config, self.k):
            return None
        return _checkpoint(fit(*lists, replace(config, valid_share=0.0), report))


def _wins(model: Network, lists: tuple[Inputs, Int64s, Bools], config: TrainConfig, k: int) -> bool:
    """Say whether a model beats the blend on the lists that were held out."""
    newest = slice(-round(len(lists[1]) * config.valid_share), None)
    inputs, label_index, present = lists[0][newest], lists[1][newest], lists[2][newest]
    learned, blend = Accuracy(k), Accuracy(k)
    learned.add(ranks_of(NetworkRanker(model).score(inputs), present, label_index))
    blend.add(ranks_of(BlendRanker().score(inputs), present, label_index))
    return learned.mrr > blend.mrr and learned.hit_rate > blend.hit_rate


class PrequentialRanker:
    """Trains rankers on the stream that is judged: each on what lies before it, anew when the past has doubled.

    Parameters
    ----------
    strategy : whose candidates are ranked.
    n_targets : about how many acts there will be.
    """

    def __init__(self, strategy: Strategy, config: BacktestConfig, n_targets: int) -> None:
        self._strategy = ordered_only(strategy)
        self._learner = RankerLearner(1.0, config.k, config.seed)
        self._share = MAX_EXAMPLES / max(n_targets, 1)
        self._rng = np.random.default_rng(config.seed)
        self._due_at = max(1, round(config.warmup * n_targets))
        self._n = 0

    def observe(self, queries: Sequence[Query], table: ItemTable, wanted: Sequence[str]) -> None:
        """Make examples of some of the (B,) queries and the items that they went on to, which no table knows yet."""
        self._n += len(queries)
        kept = np.flatnonzero(self._rng.random(len(queries)) < self._share).tolist()
        for first in range(0, len(kept), MOST_AT_ONCE):
            part = kept[first : first + MOST_AT_ONCE]
            ranked = Recommender(table).rank([replace(queries[b], strategy=self._strategy) for b in part])
            at = np.array([queries[b].at for b in part], np.int64)
            self._learner.gathered.add(labelled(ranked, table, [wanted[b] for b in part], at))

    def train(self, progress: Progress) -> Checkpoint | None:
        """Train a ranker if the past has doubled since the last; None where it is not time, or the blend is as good."""
        if self._n < self._due_at:
            return None
        self._due_at = 2 * self._n
        return self._learner.ranker(progress)


def learn_with_ranker(
    train: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    progress: Progress,
) -> tuple[ItemSide, Checkpoint | None]:
    """Learn prepared events in time order, and train a ranker on the slates that they would have had.

    Each slate is made when its user acts, from tables that have learned nothing of it; what the user did next in that
    session is its label. Every session is somebody new, as in the test.
    """
    names = SessionNames(config.profile.session_gap_ms)
    strangers = [replace(event, user_id=repr(names.of(event))) for event in train]
    side = ItemSide(items, train[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    warm_at = train[int(COLD_SHARE * len(train))].timestamp
    learner = RankerLearner(MAX_EXAMPLES / ((1 - COLD_SHARE) * len(train)), config.k, config.seed)
    walked = WalkConfig((strategy,), config.events, config.profile, config.item_side, config.texts)
    for examples in walk(strangers, items, walked, lambda n, of: progress("learning", n, of), side):
        learner.gathered.add(examples[examples.made_at >= warm_at])
    return side, learner.ranker(progress)


def _checkpoint(model: Network) -> Checkpoint:
    digest = weights_digest(model)
    return Checkpoint(model, f"backtest-{digest[:8]}", digest)
