"""The session protocol: learn one file, then predict each next act of the other's sessions."""

from collections.abc import Sequence
from itertools import chain

from models.items import ItemTable
from models.messages import Event, Item, Request
from models.offline.backtest.config import BacktestConfig, Progress, Timer
from models.offline.backtest.contender import Contender
from models.offline.backtest.contenders import contenders, trained_baselines
from models.offline.backtest.frozen import judge
from models.offline.backtest.history import History
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.outcomes import Outcomes, Target, target_of
from models.offline.backtest.pipeline import as_asked
from models.offline.backtest.ranker import learn_with_ranker
from models.offline.backtest.sessions import by_session, prepared, sessions_of
from models.offline.backtest.training_set import TrainingSet
from models.offline.seen import refuse_seen
from models.strategy import Strategy
from models.user.query import Query


def backtest_sessions(
    train: Sequence[Event],
    test: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Learn `train`, a ranker with it, then predict each next act of the sessions of `test`.

    Every session is a new user, in training as in the test.

    Raises
    ------
    ValueError
        Where the training events hold no act, or the checkpoint has learned some of the test.
    """
    past, future = by_session(prepared(train, config), config.profile), prepared(test, config)
    training_set = TrainingSet.of(past, config.events)
    if not training_set.sequences:
        raise ValueError("there is nothing to learn: no event has consent and a type with a weight above 0")
    refuse_seen(config.checkpoint, [event for event in future if config.events.is_act(event)])
    learned = learn_with_ranker(past, items, as_asked(strategy, config), config, progress)
    counts = ItemCounts()
    counts.add(training_set.item_ids())
    compared = contenders(strategy, config, counts, trained_baselines(strategy, config, training_set, progress))
    for contender in compared:
        contender.adopt(learned.checkpoint)
        contender.reweigh(learned.by_session)
    outcomes = replay_sessions(future, learned.side.table, counts, compared, config, timer, progress)
    outcomes.sources_by_session = learned.by_session
    return outcomes


def replay_sessions(
    test: Sequence[Event],
    table: ItemTable,
    counts: ItemCounts,
    compared: Sequence[Contender],
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Predict each act of each session but its first, from what came before it in the session alone.

    The slate is the one that the flow would have made at the session's last trigger, dislikes and the like included;
    before any trigger, that of a page opened with the event before. Nothing is learned meanwhile, and every session
    begins with a user of whom nothing is known.

    Parameters
    ----------
    test : prepared events.
    """
    sessions = sessions_of(test, config.profile)
    asked = list(chain.from_iterable(_steps(session, table, config) for session in sessions))
    return judge(asked, compared, table, counts, config, timer, progress)


def _steps(
    session: Sequence[tuple[int, Event]], table: ItemTable, config: BacktestConfig
) -> list[tuple[Query, Target]]:
    """Walk through one session: before each act but the first, what its user's slate knew, and the act."""
    history = History(config)
    steps = []
    query: Query | None = None
    last_at = 0
    for offset, event in session:
        if config.events.is_act(event) and history.n_acts:
            asked = query or history.query(Request(event.event_id, event.user_id, last_at))
            steps.append((asked, target_of(event, history.n_acts, table)))
        if history.add(event, offset, None, table):
            query = history.query(event)
        last_at = event.timestamp
    return steps
