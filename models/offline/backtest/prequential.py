"""The prequential protocol: one pass in time order; recommend, score, and only then learn."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from models.counts.item_side import ItemSide
from models.messages import Event, Item
from models.offline.backtest.config import BacktestConfig, Progress, Timer
from models.offline.backtest.contender import Contender, time_alone
from models.offline.backtest.contenders import contenders
from models.offline.backtest.history import History
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.outcomes import Outcomes, Target, target_of
from models.offline.backtest.pipeline import as_asked
from models.offline.backtest.ranker import PrequentialTrainer
from models.offline.backtest.sessions import SessionNames, prepared
from models.offline.seen import refuse_seen
from models.strategy import Strategy
from models.user.query import Query


def backtest_prequential(
    events: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Go once through `events`: recommend, score, then learn; a new ranker is trained as the past doubles.

    Raises
    ------
    ValueError
        Where the checkpoint has learned some of what is judged.
    """
    stream, counts = prepared(events, config), ItemCounts()
    acts = [event for event in stream if config.events.is_act(event)]
    refuse_seen(config.checkpoint, acts[int(len(acts) * config.warmup) :])
    side = ItemSide(items, stream[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    protocol = Prequential(as_asked(strategy, config), side, counts, config, timer)
    return protocol.run(stream, contenders(strategy, config, counts), progress)


class _Prediction(NamedTuple):
    """A prediction that is to be made, and what it is judged by."""

    query: Query
    target: Target
    is_judged: bool
    """False in the warm-up, which only trains."""


class Prequential:
    """One pass over a stream of events.

    Parameters
    ----------
    strategy : whose candidates a ranker is trained on.
    side : learns the events; begins without any.
    counts : counts them; begins without any.
    """

    def __init__(
        self, strategy: Strategy, side: ItemSide, counts: ItemCounts, config: BacktestConfig, timer: Timer
    ) -> None:
        self._strategy = strategy
        self._side = side
        self._counts = counts
        self._config = config
        self._timer = timer
        self._names = SessionNames(config.profile)
        self._histories: defaultdict[str, History] = defaultdict(lambda: History(config))
        self._time_every = 1
        self.outcomes = Outcomes()

    def run(self, events: Sequence[Event], compared: Sequence[Contender], progress: Progress) -> Outcomes:
        """Predict each act after the warm-up.

        Events go by in blocks of `learn_every`: every prediction of a block is made from tables that have learned
        nothing of it, and from a state that holds all that its user did before. The slate is that of the user's last
        trigger, as of the time of the act that is to be predicted (`History.query_before`).

        Parameters
        ----------
        events : prepared, in time order.
        """
        is_act, side = self._config.events.is_act, self._side
        acts = [index for index, event in enumerate(events) if is_act(event)]
        n_warm = int(len(acts) * self._config.warmup)
        self._time_every = max(1, (len(acts) - n_warm) // max(self._config.n_timed, 1))
        groups = self._groups(events, acts)
        judged_from = acts[n_warm] if n_warm < len(acts) else len(events)
        trainer = PrequentialTrainer(self._strategy, self._config, len(acts))
        for start in range(0, len(events), self._config.learn_every):
            block = range(start, min(start + self._config.learn_every, len(events)))
            due: list[_Prediction] = []
            for index in block:
                event = events[index]
                session, history = self._names.of(event), self._histories[event.user_id]
                if index in groups:
                    query = history.query_before(event, session)
                    due += [
                        _Prediction(query, target_of(events[act], history.n_acts, side.table), act >= judged_from)
                        for act in groups[index]
                    ]
                history.add(event, index, session, side.table)
            trainer.observe([d.query for d in due], side.table, [d.target.item_id for d in due])
            self._predict([d for d in due if d.is_judged], compared)
            side.learn([events[index] for index in block])
            self._counts.add(events[index].item_id for index in block if is_act(events[index]))
            if (better := trainer.follow([events[index] for index in block], side.table)) is not None:
                side.read_with(better)
            if trainer.is_due():
                self._train(trainer, events[: block.stop], compared, progress)
            progress("predicting, then learning", block.stop, len(events))
        # The tables forget what nobody has acted on for many half-lives; it was known, and could be recommended.
        self.outcomes.n_items = max(side.table.n, self._counts.n_items)
        return self.outcomes

    def _train(
        self, trainer: PrequentialTrainer, past: Sequence[Event], compared: Sequence[Contender], progress: Progress
    ) -> None:
        """Train all that goes by what lies before; what is no better than what serves is left away."""
        if (by_session := trainer.fit_sources()) is not None:
            for contender in compared:
                contender.reweigh(by_session)
            self.outcomes.sources_by_session = by_session
        if (checkpoint := trainer.train(progress)) is not None:
            for contender in compared:
                contender.adopt(checkpoint)
        if (encoder := trainer.train_sequence(past, self._side.table, progress)) is not None:
            self._side.read_with(encoder)

    def _groups(self, events: Sequence[Event], acts: Sequence[int]) -> dict[int, list[int]]:
        """Find, by the index of the first of each group, the acts that are predicted from the same past."""
        if self._config.ties == "order":
            return {index: [index] for index in acts}
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for index in acts:
            groups[events[index].user_id, events[index].timestamp].append(index)
        return {group[0]: group for group in groups.values()}

    def _predict(self, due: Sequence[_Prediction], compared: Sequence[Contender]) -> None:
        if not due:
            return
        outcomes, table, n_before = self.outcomes, self._side.table, len(self.outcomes.targets)
        outcomes.predict([d.query for d in due], [d.target for d in due], compared, table, self._counts)
        if self._config.n_timed and n_before // self._time_every != len(outcomes.targets) // self._time_every:
            for contender in compared:
                times_us = time_alone(contender, [due[0].query], table, self._timer)
                outcomes.records[contender.name].times_us += times_us
