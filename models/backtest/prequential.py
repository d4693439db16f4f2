"""The prequential protocol: one pass in time order; recommend, score, and only then learn."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from models.backtest.config import BacktestConfig
from models.backtest.contenders import Contender
from models.backtest.counts import ItemCounts
from models.backtest.history import History
from models.backtest.outcomes import Outcomes, Target
from models.backtest.session import Progress, Timer, target_of, time_alone
from models.backtest.sessions import SessionNames
from models.learning.item_side import ItemSide
from models.messages import Event
from models.query import Query


class Prequential:
    """One pass over a stream of events.

    Parameters
    ----------
    side : learns the events; begins without any.
    counts : counts them; begins without any.
    """

    def __init__(self, side: ItemSide, counts: ItemCounts, config: BacktestConfig, timer: Timer) -> None:
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
        judged = self._judged(events)
        self._time_every = max(1, len(judged) // max(self._config.n_timed, 1))
        together = self._together(events, judged)
        for start in range(0, len(events), self._config.learn_every):
            block = range(start, min(start + self._config.learn_every, len(events)))
            due: list[tuple[Query, Target]] = []
            for place in block:
                event = events[place]
                session = self._names.of(event)
                history = self._histories[event.user_id]
                if place in together:
                    due += self._due(event, session, history, [events[p] for p in together[place]])
                history.add(event, session, self._side.table)
            self._predict(due, contenders)
            self._side.learn([events[place] for place in block])
            self._counts.add(events[place].item_id for place in block if self._config.is_act(events[place]))
            progress("predicting, then learning", block.stop, len(events))
        self.outcomes.n_items = self._side.table.n
        return self.outcomes

    def _judged(self, events: Sequence[Event]) -> list[int]:
        """Find the places of the acts after the warm-up."""
        acts = [place for place, event in enumerate(events) if self._config.is_act(event)]
        return acts[int(len(acts) * self._config.warmup) :]

    def _together(self, events: Sequence[Event], judged: Sequence[int]) -> dict[int, list[int]]:
        """Find, for the place of the first of each group, the acts that are foreseen from the same past."""
        if self._config.ties == "order":
            return {place: [place] for place in judged}
        groups: defaultdict[Hashable, list[int]] = defaultdict(list)
        for place in judged:
            groups[events[place].user_id, events[place].timestamp].append(place)
        return {group[0]: group for group in groups.values()}

    def _due(
        self, event: Event, session: Hashable, history: History, targets: Sequence[Event]
    ) -> list[tuple[Query, Target]]:
        query = history.query(event.user_id, event.event_id, event.timestamp, session)
        n_earlier, table = history.n_acts, self._side.table
        return [(replace(query, trigger_id=target.event_id), target_of(target, n_earlier, table)) for target in targets]

    def _predict(self, due: Sequence[tuple[Query, Target]], contenders: Sequence[Contender]) -> None:
        if not due:
            return
        outcomes, table = self.outcomes, self._side.table
        queries, targets = [query for query, _ in due], [target for _, target in due]
        is_timed = len(outcomes.targets) // self._time_every != (len(outcomes.targets) + len(due)) // self._time_every
        outcomes.targets += targets
        for contender in contenders:
            record = outcomes.records[contender.name]
            record.add(contender.predict(queries, table, [target.item_id for target in targets]), self._counts, table)
            if is_timed and self._config.n_timed:
                record.times_us += time_alone(contender, queries[:1], table, self._timer)
