"""A frozen test: tables and rankers stand still while every act is predicted."""

from collections.abc import Sequence

from models.items import ItemTable
from models.offline.backtest.config import BacktestConfig, Progress, Timer
from models.offline.backtest.contender import Contender, time_alone
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.outcomes import Outcomes, Target
from models.user.query import Query

PREDICT_AT_ONCE = 1_024


def judge(
    asked: Sequence[tuple[Query, Target]],
    compared: Sequence[Contender],
    table: ItemTable,
    counts: ItemCounts,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Let every contender answer each query, whose user went on to the target; then time some slates alone."""
    outcomes = predict_all(asked, compared, table, counts, progress, "predicting")
    timed = [query for query, _ in asked[:: max(1, len(asked) // config.n_timed)]] if config.n_timed else []
    for number, contender in enumerate(compared):
        outcomes.records[contender.name].times_us += time_alone(contender, timed, table, timer)
        progress("timing", number + 1, len(compared))
    return outcomes


def predict_all(
    asked: Sequence[tuple[Query, Target]],
    compared: Sequence[Contender],
    table: ItemTable,
    counts: ItemCounts,
    progress: Progress,
    what: str,
) -> Outcomes:
    """Let every contender answer each query, without timing any.

    Parameters
    ----------
    what : is being done, for who watches.
    """
    outcomes = Outcomes(n_items=table.n)
    for start in range(0, len(asked), PREDICT_AT_ONCE):
        part = asked[start : start + PREDICT_AT_ONCE]
        outcomes.predict([query for query, _ in part], [target for _, target in part], compared, table, counts)
        progress(what, start + len(part), len(asked))
    return outcomes
