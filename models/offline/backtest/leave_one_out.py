"""The leave-one-out protocol: each user's last act is the test, the one before it the validation, the rest trains."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from models.counts.item_side import ItemSide
from models.messages import Event, Item
from models.offline.backtest.config import BacktestConfig, Progress, Timer
from models.offline.backtest.contenders import contenders, trained_baselines
from models.offline.backtest.frozen import judge, predict_all
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.last_acts import LEAST_ACTS, Split, leave_last_two_out
from models.offline.backtest.memory import MEMORIES, Remembered
from models.offline.backtest.outcomes import Outcomes
from models.offline.backtest.pipeline import as_asked
from models.offline.backtest.ranker import trained
from models.offline.backtest.sequence_models import SequenceModels, train_sequence_models
from models.offline.backtest.sessions import prepared
from models.offline.backtest.training_set import TrainingSet
from models.offline.seen import refuse_seen
from models.strategy import Strategy


def backtest_leave_one_out(
    events: Sequence[Event],
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    timer: Timer,
    progress: Progress,
) -> Outcomes:
    """Learn each user's acts but the last two, choose by the second last, and predict the last.

    At the test a user's history holds the second last act, though nothing was trained on it: so SASRec (Kang and
    McAuley, 2018) and those after it are judged. Nothing is fitted again with it. Each slate is asked for as of its
    target's time, and made at the user's last trigger before it (`History.query_before`).

    The tables stand still from the last training act on. For most users they hold acts of others that are later than
    the target: this is the literature's protocol, and no figure of it says what a stream would have earned. Nor can
    counts fade as of each query, only as of the end of the past. So the second last acts choose how much is remembered
    (`Memory`). What the sources weigh is fitted to them, and they stop the ranker's training and say whether it is
    taken; it learns questions of the same kind.

    Raises
    ------
    ValueError
        Where nobody has three acts, or the checkpoint has learned what is to be predicted.
    """
    split = leave_last_two_out(prepared(events, config), config)
    if not split.left_out:
        raise ValueError(f"nobody has {LEAST_ACTS} acts: one to learn, one to choose by and one to judge by")
    refuse_seen(config.checkpoint, [own.test[-1].event for own in split.left_out])
    training_set = TrainingSet.of([step.event for step in split.train], config.events)
    counts = ItemCounts()
    counts.add(training_set.item_ids())
    models = _sequence_models(split, items, config, progress) if config.trains_sequence else None
    past = _best_remembered(split, items, as_asked(strategy, config), config, models, counts, progress)
    fitted = past.fit_sources()
    reweighed = replace(strategy, sources_by_session=fitted.by_session) if fitted else None
    checkpoint = trained(past.examples.gathered, config, progress, past.held_out.gathered, reweighed)
    compared = contenders(strategy, config, counts, trained_baselines(strategy, config, training_set, progress))
    for contender in compared:
        contender.adopt(checkpoint)
        if fitted is not None:
            contender.reweigh(fitted.by_session)
    asked = [last for own in past.split.left_out for last in past.ask(own.test)]
    outcomes = judge(asked, compared, past.side.table, counts, config, timer, progress)
    outcomes.validation = predict_all(past.chosen_by(), compared, past.side.table, counts, progress, "validating")
    outcomes.sources_by_session = fitted.by_session if fitted else strategy.sources_by_session
    outcomes.chosen = {
        "memory": past.memory,
        "sources": "fitted" if fitted else "as_set",
        "ranker": checkpoint.kind if checkpoint else "blend",
    }
    return outcomes


def _sequence_models(
    split: Split, items: Sequence[Item], config: BacktestConfig, progress: Progress
) -> SequenceModels | None:
    first_at = split.train[0].event.timestamp
    side = ItemSide(items, first_at, config.item_side, config.events, config.profile, config.texts)
    return train_sequence_models(split, side.table, config, progress)


def _best_remembered(
    split: Split,
    items: Sequence[Item],
    strategy: Strategy,
    config: BacktestConfig,
    models: SequenceModels | None,
    counts: ItemCounts,
    progress: Progress,
) -> Remembered:
    """Learn the training acts by each memory, and keep the one that predicts the second last acts best."""

    def learned() -> Iterator[tuple[float, Remembered]]:
        for memory in MEMORIES:
            past = Remembered(memory, split, items, strategy, config)
            past.learn(models, progress)
            yield past.validity(counts, progress), past

    return max(learned(), key=lambda scored: scored[0])[1]
