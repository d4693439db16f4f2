"""The prequential protocol: one pass in time order; recommend, score, and only then learn."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

from models.counts.item_side import ItemSide
from models.messages import Event
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.contenders import Contender
from models.offline.backtest.history import History
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.past_sessions import SessionNames
from models.offline.backtest.predictions import Outcomes, Target
from models.offline.backtest.ranker import PrequentialRanker
from models.offline.backtest.session_protocol import Progress, Timer, target_of, time_alone
from models.strategy import Strategy
from models.user.query import Query


class _Due(NamedTuple):
    """A slate that is due, and what its user goes on to."""

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
        self._names = SessionNames(config.profile.session_gap_ms)
        self._histories: defaultdict[str, History] = defaultdict(lambda: History(config))
        self._time_every = 1
        self.outcomes = Outcomes()

    def run(self, events: Sequence[Event], contenders: Sequence[Contender], progress: Progress) -> Outcomes:
        """Foresee each act after the warm-up.

        Events go by in blocks of `learn_every`: every prediction of a block is made from tables that have learned
        nothing of it, and from a profile that holds all that its user did before.

        Parameters
        ----------
        events : prepared, in time order.
        """
        acts = [place for place, event in enumerate(events) if self._config.events.is_act(event)]
        n_warm = int(len(acts) * self._config.warmup)
        self._time_every = max(1, (len(acts) - n_warm) // max(self._config.n_timed, 1))
        together = self._together(events, acts)
        begin = acts[n_warm] if n_warm < len(acts) else len(events)
        ranker = PrequentialRanker(self._strategy, self._config, len(acts))
        for start in range(0, len(events), self._config.learn_every):
            block = range(start, min(start + self._config.learn_every, len(events)))
            due: list[_Due] = []
            for place in block:
                event = events[place]
                session = self._names.of(event)
                history = self._histories[event.user_id]
                if place in together:
                    targets = [(events[p], p >= begin) for p in together[place]]
                    due += self._due(event, session, history, targets)
                history.add(event, session, self._side.table)
            ranker.observe([d.query for d in due], self._side.table, [d.target.item_id for d in due])
            self._predict([d for d in due if d.is_judged], contenders)
            self._side.learn([events[place] for place in block])
            self._counts.add(events[place].item_id for place in block if self._config.events.is_act(events[place]))
            if (trained := ranker.train(progress)) is not None:
                for contender in contenders:
                    contender.adopt(trained)
            progress("predicting, then learning", block.stop, len(events))
        # The tables forget what nobody has acted on for many half-lives; it was known, and could be recommended.
        self.outcomes.n_items = max(self._side.table.n, self._counts.n_items)
        return self.outcomes

    def _together(self, events: Sequence[Event], acts: Sequence[int]) -> dict[int, list[int]]:
        """Find, for the place of the first of each group, the acts that are foreseen from the same past."""
        if self._config.ties == "order":
            return {place: [place] for place in acts}
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for place in acts:
            groups[events[place].user_id, events[place].timestamp].append(place)
        return {group[0]: group for group in groups.values()}

    def _due(
        self, event: Event, session: Hashable, history: History, targets: Sequence[tuple[Event, bool]]
    ) -> list["_Due"]:
        query = history.query(event.user_id, event.event_id, event.timestamp, session)
        n_earlier, table = history.n_acts, self._side.table
        return [
            _Due(replace(query, trigger_id=target.event_id), target_of(target, n_earlier, table), is_judged)
            for target, is_judged in targets
        ]

    def _predict(self, due: Sequence["_Due"], contenders: Sequence[Contender]) -> None:
        if not due:
            return
        outcomes, table = self.outcomes, self._side.table
        queries, targets = [d.query for d in due], [d.target for d in due]
        is_timed = len(outcomes.targets) // self._time_every != (len(outcomes.targets) + len(due)) // self._time_every
        outcomes.targets += targets
        for contender in contenders:
            record = outcomes.records[contender.name]
            record.add(contender.predict(queries, table, [target.item_id for target in targets]), self._counts, table)
            if is_timed and self._config.n_timed:
                record.times_us += time_alone(contender, queries[:1], table, self._timer)
