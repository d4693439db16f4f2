"""Searching for settings: one walk through the past, then many trials on the slates that it made.

The blend's weights are tried on the candidates that the strategy's own weights found, so a trial costs milliseconds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from models.messages import Event, Item
from models.names import LOSSES, SOURCES
from models.numeric.arrays import Bools, Floats, Int64s
from models.numeric.metrics import Accuracy, ranks_of
from models.offline.train import Gathered, until
from models.offline.walk import Progress, WalkConfig, walk
from models.rankers.fit import TrainConfig, fit
from models.rankers.inputs import Inputs
from models.rankers.served import NetworkRanker

Lists: TypeAlias = tuple[Inputs, Int64s, Bools]
"""What was ranked, which candidate was chosen, and where a candidate is."""


@dataclass(frozen=True, slots=True)
class TuningConfig:
    """What to try, and for how long."""

    walk: WalkConfig = field(default_factory=WalkConfig)
    rankers: tuple[str, ...] = ("blend", "linear", "mlp")
    n_trials: int = 40
    seconds: float = math.inf
    """After so long no trial begins."""
    train_share: float = 0.8
    """Of the time; what lies behind it is left for `eddy train` to judge on."""
    valid_share: float = 0.2
    """The newest share of the slates, on which trials are compared."""
    max_examples: int = 20_000
    max_epochs: int = 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings, and what they earned on the newest slates."""

    ranker: str
    settings: dict[str, Any]
    earned: Accuracy


def tune(
    events: Sequence[Event],
    items: Sequence[Item],
    config: TuningConfig | None = None,
    progress: Progress | None = None,
    on_trial: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Search for the settings with the best NDCG@10: the best trial first.

    Parameters
    ----------
    events
        In time order.
    items
        The catalog.
    progress
        Called while it walks through the events.
    on_trial
        Called after each trial.

    Returns
    -------
    All trials; the same for the same events, items and configuration, unless the seconds cut it short.

    Raises
    ------
    ImportError
        Without Optuna, which the extra `tune` brings.
    ValueError
        Where the past makes fewer than 10 examples.

    References
    ----------
    T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama. Optuna: a next-generation hyperparameter optimization framework.
    KDD 2019; its sampler: J. Bergstra et al. Algorithms for hyper-parameter optimization. NeurIPS 2011.
    """
    import optuna  # noqa: PLC0415 - an extra

    config = config or TuningConfig()
    lists = _gather(events, items, config, progress)
    n_valid = max(1, round(len(lists[1]) * config.valid_share))
    train, valid = _part(lists, slice(0, -n_valid)), _part(lists, slice(-n_valid, None))
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        ranker = trial.suggest_categorical("ranker", list(config.rankers))
        settings, scores = (_blend if ranker == "blend" else _network(ranker, train, config))(trial, valid)
        earned = Accuracy()
        earned.add(ranks_of(scores, valid[2], valid[1]))
        trials.append(Trial(ranker, settings, earned))
        if on_trial is not None:
            on_trial(trials[-1])
        return earned.ndcg

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed))
    study.optimize(objective, config.n_trials, None if math.isinf(config.seconds) else config.seconds)
    return sorted(trials, key=lambda trial: -trial.earned.ndcg)


def _gather(events: Sequence[Event], items: Sequence[Item], config: TuningConfig, progress: Progress | None) -> Lists:
    until_at = until(events, config.train_share)
    past = [event for event in events if event.timestamp <= until_at]
    gathered = Gathered(config.max_examples / max(len(past), 1), config.seed)
    for examples in walk(past, items, config.walk, progress):
        gathered.add(examples)
    if gathered.n < 10:
        raise ValueError(
            f"tuning needs at least 10 slates whose candidates hold what came next; there are {gathered.n}"
        )
    return gathered.lists()


def _part(lists: Lists, chosen: slice) -> Lists:
    inputs, label_index, present = lists
    return inputs[chosen], label_index[chosen], present[chosen]


def _blend(trial: Any, valid: Lists) -> tuple[dict[str, Any], Floats]:
    weights = {source: trial.suggest_float(f"weight_{source}", 0.0, 1.0) for source in SOURCES}
    scores = valid[0].features[:, :, : len(SOURCES)] @ np.array([*weights.values()], np.float32)
    return {source: round(weight, 3) for source, weight in weights.items()}, scores


def _short(value: float) -> float:
    """Round to three digits, so that what was tried can be typed."""
    return float(f"{value:.3g}")


def _network(kind: str, train: Lists, config: TuningConfig) -> Callable[[Any, Lists], tuple[dict[str, Any], Floats]]:
    def attempt(trial: Any, valid: Lists) -> tuple[dict[str, Any], Floats]:
        settings = {
            "loss": trial.suggest_categorical("loss", list(LOSSES)),
            "learning_rate": _short(trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True)),
            "weight_decay": _short(trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)),
            "batch_size": trial.suggest_categorical("batch_size", [64, 256, 1_024]),
        }
        chosen = TrainConfig(kind=kind, max_epochs=config.max_epochs, seed=config.seed, **settings)
        return settings, NetworkRanker(fit(*train, chosen)).score(valid[0])

    return attempt
