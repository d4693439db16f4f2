"""Whole backtests, from events to outcomes."""

from collections.abc import Sequence

from models.counts.item_side import ItemSide
from models.messages import Event, Item
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.field import as_asked, contenders
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.predictions import Outcomes
from models.offline.backtest.prequential import Prequential
from models.offline.backtest.ranker import learn_with_ranker
from models.offline.backtest.session_protocol import Progress, Timer, prepared, replay_sessions
from models.strategy import Strategy


def backtest_sessions(
    train: Sequence[Event],
    test: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Learn `train`, a ranker with it, then foresee each next act of the sessions of `test`.

    Raises
    ------
    ValueError
        Where the training events hold no act.
    """
    past, future = prepared(train, config), prepared(test, config)
    acts = [event.item_id for event in past if config.events.is_act(event)]
    if not acts:
        raise ValueError("there is nothing to learn: no event has consent and a type with a weight above 0")
    side, checkpoint = learn_with_ranker(past, items, as_asked(strategy, config), config, progress)
    counts = ItemCounts()
    counts.add(acts)
    field = contenders(strategy, config, counts)
    for contender in field:
        contender.adopt(checkpoint)
    return replay_sessions(future, side.table, counts, field, config, timer, progress)


def backtest_prequential(
    events: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Go once through `events`: recommend, score, then learn; a ranker is trained anew as the past doubles."""
    stream, counts = prepared(events, config), ItemCounts()
    side = ItemSide(items, stream[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    field = contenders(strategy, config, counts)
    return Prequential(as_asked(strategy, config), side, counts, config, timer).run(stream, field, progress)
