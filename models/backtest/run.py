"""Whole backtests, from events to outcomes."""

from collections.abc import Sequence

from models.backtest.config import BacktestConfig
from models.backtest.counts import ItemCounts
from models.backtest.field import contenders
from models.backtest.outcomes import Outcomes
from models.backtest.prequential import Prequential
from models.backtest.session import Progress, Timer, learned, prepared, replay_sessions
from models.learning.item_side import ItemSide
from models.messages import Event, Item
from models.ranking.checkpoint import Checkpoint
from models.strategy import Strategy


def backtest_sessions(
    train: Sequence[Event],
    test: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    checkpoint: Checkpoint | None,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Learn `train`, then foresee each next act of the sessions of `test`.

    Raises
    ------
    ValueError
        Where the training file holds no event that may be learned.
    """
    past, future = prepared(train, config), prepared(test, config)
    if not any(config.is_act(event) for event in past):
        raise ValueError("no event to learn from: none has an event type with a weight above 0 and consent")
    table, counts = learned(past, items, config, progress)
    field = contenders(strategy, config, counts, checkpoint)
    return replay_sessions(future, table, counts, field, config, timer, progress)


def backtest_prequential(
    events: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    checkpoint: Checkpoint | None,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Go once through `events`: recommend, score, then learn."""
    stream, counts = prepared(events, config), ItemCounts()
    side = ItemSide(items, stream[0].timestamp, config.item_side)
    field = contenders(strategy, config, counts, checkpoint)
    return Prequential(side, counts, config, timer).run(stream, field, progress)
