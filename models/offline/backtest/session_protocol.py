"""The session protocol: learn one file, then foresee each next act of the other's sessions."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

from models.items import ItemTable
from models.messages import Event
from models.numeric.ids import hash_all
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.contenders import Contender
from models.offline.backtest.history import History
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.past_sessions import collapse_repeats, sessions_of
from models.offline.backtest.predictions import Outcomes, Target
from models.user.query import Query

PREDICT_AT_ONCE = 1_024

Progress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and of how much."""
Timer = Callable[[], int]
"""A clock in nanoseconds that only goes forward."""


def prepared(events: Sequence[Event], config: BacktestConfig) -> list[Event]:
    """Put events in time order, without consecutive repeats where those are to be collapsed."""
    ordered = sorted(events, key=lambda event: event.timestamp)
    if config.repeats == "keep":
        return ordered
    return collapse_repeats(ordered, config.profile.session_gap_ms, config.events.is_act)


def replay_sessions(
    test: Sequence[Event],
    table: ItemTable,
    counts: ItemCounts,
    contenders: Sequence[Contender],
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Foresee each act of each session but its first, from the acts before it alone.

    Nothing is learned meanwhile, and every session begins with a user of whom nothing is known.

    Parameters
    ----------
    test : prepared events.
    """
    sessions = sessions_of(test, config.profile.session_gap_ms)
    made = list(chain.from_iterable(_steps(session, table, config) for session in sessions))
    outcomes = Outcomes(n_items=table.n)
    for start in range(0, len(made), PREDICT_AT_ONCE):
        part = made[start : start + PREDICT_AT_ONCE]
        queries, targets = [query for query, _ in part], [target for _, target in part]
        outcomes.targets += targets
        for contender in contenders:
            predictions = contender.predict(queries, table, [target.item_id for target in targets])
            outcomes.records[contender.name].add(predictions, counts, table)
        progress("predicting", start + len(part), len(made))
    timed = made[:: max(1, len(made) // config.n_timed)] if config.n_timed else []
    for number, contender in enumerate(contenders):
        outcomes.records[contender.name].times_us += time_alone(contender, [q for q, _ in timed], table, timer)
        progress("timing", number + 1, len(contenders))
    return outcomes


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


def _steps(session: Sequence[Event], table: ItemTable, config: BacktestConfig) -> list[tuple[Query, Target]]:
    """Walk through one session: before each act but the first, what a slate would know, and what comes."""
    history = History(config)
    steps = []
    last: Event | None = None
    for event in session:
        if config.events.is_act(event):
            if last is not None:
                # Of the act to come only the answer is used: a slate is made when the act before it happens.
                query = history.query(event.user_id, last.event_id, last.timestamp, 0)
                steps.append((query, target_of(event, history.n_acts, table)))
            last = event
        history.add(event, 0, table)
    return steps


def target_of(event: Event, n_earlier: int, table: ItemTable) -> Target:
    """Describe what was to be foreseen."""
    row = int(table.rows_of(hash_all([event.item_id]))[0])
    known_at = int(table.created_at[row]) if row >= 0 else 0
    age_ms = max(event.timestamp - known_at, 0) if known_at else None
    return Target(event.user_id, event.item_id, event.timestamp, n_earlier, age_ms)
