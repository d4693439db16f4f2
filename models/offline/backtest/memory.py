"""What the item tables make of users' pasts, where a frozen test asks them about many moments at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np

from models.counts.item_side import ItemSide
from models.messages import Item
from models.numeric.metrics import gains
from models.offline.backtest.config import BacktestConfig, Progress
from models.offline.backtest.contenders import DEFAULT
from models.offline.backtest.frozen import predict_all
from models.offline.backtest.history import History
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.last_acts import Split, Step, without_session_ids
from models.offline.backtest.outcomes import Target, target_of
from models.offline.backtest.pipeline import Pipeline
from models.offline.backtest.ranker import LEARNED_AT_ONCE, AskedExamples, fits_sources
from models.offline.backtest.sequence_models import SequenceModels
from models.offline.source_pools import MAX_POOLS, PoolGatherer
from models.offline.source_weights import FittedSources, fit_sources
from models.strategy import Strategy
from models.user.query import Query

FOREVER_S = 10_000 * 86_400
"""A pause that nobody makes, and a half-life in which nothing fades."""

MAX_CHOSEN_BY = 5_000
"""Second last acts that choose between memories, and that stand under `chosen` in the report."""

Memory: TypeAlias = Literal["as_set", "lifelong"]
"""`as_set`: sessions end and counts fade as the settings say, as of the end of the past. `lifelong`: all that a user
did is one session, any two acts make a habit, and nothing fades: for acts that are days apart, and for queries that are
older than the tables."""
MEMORIES: tuple[Memory, ...] = get_args(Memory)


class Remembered:
    """The tables and the users' states that one memory makes of a past.

    Parameters
    ----------
    strategy : whose candidates examples are made of, under the rules of the backtest.
    """

    def __init__(
        self, memory: Memory, split: Split, items: Sequence[Item], strategy: Strategy, config: BacktestConfig
    ) -> None:
        self.memory = memory
        self.split = split if memory == "as_set" else without_session_ids(split)
        self._config = config if memory == "as_set" else _lifelong(config)
        self._strategy = strategy
        self._histories: defaultdict[str, History] = defaultdict(lambda: History(self._config))
        first_at = split.train[0].event.timestamp
        self.side = ItemSide(items, first_at, self._config.item_side, config.events, self._config.profile, config.texts)
        self.examples = AskedExamples(strategy, config, len(split.train))
        """Of the training acts, each asked for before the tables had learned it."""
        self.held_out = AskedExamples(strategy, config, len(split.left_out))
        """Of the second last acts."""
        self._pools = PoolGatherer(strategy, MAX_POOLS / max(len(split.left_out), 1), config.seed)
        self.validation: list[tuple[Query, Target]] = []
        """The second last acts, each with what was known before it."""

    def learn(self, models: SequenceModels | None, progress: Progress) -> None:
        """Learn the training acts, and ask for the second last ones.

        Parameters
        ----------
        models : where sequence models serve, each question goes to the one that has not seen its answer, and a ranker
            learns from users' newest training acts alone.
        """
        self.side.read_with(models.earlier.encoder() if models else None)
        what, train = f"learning, {self.memory.replace('_', ' ')}", self.split.train
        for start in range(0, len(train), LEARNED_AT_ONCE):
            block = train[start : start + LEARNED_AT_ONCE]
            asked = [(step.number, question) for step in block for question in self.ask([step])]
            self._observe(self.examples, [q for number, q in asked if models is None or number in models.asked])
            self.side.learn([step.event for step in block])
            progress(what, start + len(block), len(train))
        self.side.read_with(models.later.encoder() if models else None)
        self.validation = [asked for own in self.split.left_out for asked in self.ask(own.validation)]
        self._observe(self.held_out, self.validation)
        if fits_sources(self._strategy, self._config):
            truth = [target.item_id for _, target in self.validation]
            self._pools.observe([query for query, _ in self.validation], self.side.table, truth)

    def fit_sources(self) -> FittedSources | None:
        """Fit what the sources weigh to the second last acts; None where they are not, or what is set is as good."""
        return fit_sources(self._pools.all(), self._strategy)

    def ask(self, steps: Iterable[Step]) -> list[tuple[Query, Target]]:
        """Take in events; return, for each act but its user's first, what was known before it, and the act."""
        asked = []
        for number, event, session in steps:
            history = self._histories[event.user_id]
            if self._config.events.is_act(event) and history.n_acts:
                query = history.query_before(event, session)
                asked.append((query, target_of(event, history.n_acts, self.side.table)))
            history.add(event, number, session, self.side.table)
        return asked

    def chosen_by(self) -> list[tuple[Query, Target]]:
        """Return the second last acts that choose: of many, evenly spread ones."""
        return self.validation[:: -(-len(self.validation) // MAX_CHOSEN_BY) or 1]

    def validity(self, counts: ItemCounts, progress: Progress) -> float:
        """Return the NDCG of the default, without a ranker, on second last acts."""
        default = Pipeline(DEFAULT, replace(self._strategy, ranker="blend"))
        outcomes = predict_all(self.chosen_by(), [default], self.side.table, counts, progress, "choosing the memory")
        return float(np.mean(gains(outcomes.ranks(DEFAULT), self._config.k)))

    def _observe(self, examples: AskedExamples, asked: Sequence[tuple[Query, Target]]) -> None:
        if self._config.trains:
            truth = [target.item_id for _, target in asked]
            examples.observe([query for query, _ in asked], self.side.table, truth)


def _lifelong(config: BacktestConfig) -> BacktestConfig:
    profile = replace(config.profile, session_gap_s=FOREVER_S, habits_within=True)
    item_side = replace(
        config.item_side,
        half_life_short_s=FOREVER_S,
        half_life_long_s=FOREVER_S,
        half_life_between_s=FOREVER_S,
    )
    return replace(config, profile=profile, item_side=item_side)
