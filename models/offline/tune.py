"""Searching for settings: one walk through the past, then many trials on the slates that it made.

The blend's weights are tried on the candidates that the strategy's own weights found, so a trial costs milliseconds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from models.messages import Event, Item, Request
from models.names import LOSSES, SOURCES, NetworkName
from models.numeric.arrays import Floats
from models.numeric.metrics import Accuracy, ranks_of
from models.offline.fitting import LEAST_EXAMPLES, MAX_EXAMPLES, Gathered
from models.offline.train import until
from models.offline.walk import Examples, Progress, WalkConfig, walk
from models.rankers.fit import TrainConfig, fit
from models.rankers.served import NetworkRanker


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
    max_examples: int = MAX_EXAMPLES
    least_examples: int = LEAST_EXAMPLES
    """With fewer, no trial is crowned."""
    max_epochs: int = TrainConfig().max_epochs
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings, and what they earned on the newest slates."""

    ranker: str
    settings: dict[str, Any]
    earned: Accuracy


def tune(
    messages: Sequence[Event | Request],
    items: Sequence[Item],
    config: TuningConfig | None = None,
    progress: Progress | None = None,
    on_trial: Callable[[Trial], object] | None = None,
) -> list[Trial]:
    """Search for the settings with the best NDCG@10: the best trial first.

    Parameters
    ----------
    messages
        Events, and requests between them if they are known, in time order.
    items
        The catalog.
    progress
        Called while it walks through the messages.
    on_trial
        Called after each trial.

    Returns
    -------
    All trials; the same for the same messages, items and configuration, unless the seconds cut it short.

    Raises
    ------
    ImportError
        Without Optuna, which the extra `tune` brings.
    ValueError
        Where the past makes too few examples.

    References
    ----------
    T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama. Optuna: a next-generation hyperparameter optimization framework.
    KDD 2019; its sampler: J. Bergstra et al. Algorithms for hyper-parameter optimization. NeurIPS 2011.
    """
    import optuna  # noqa: PLC0415 - an extra

    config = config or TuningConfig()
    examples = _gather(messages, items, config, progress)
    n_valid = max(1, round(examples.n * config.valid_share))
    train, valid = examples[:-n_valid], examples[-n_valid:]
    trials: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        ranker = trial.suggest_categorical("ranker", list(config.rankers))
        if ranker == "blend":
            settings, scores = _blend(trial, valid)
        else:
            settings, scores = _network(trial, ranker, train, valid, config)
        earned = Accuracy()
        earned.add(ranks_of(scores, valid.present, valid.label_index))
        trials.append(Trial(ranker, settings, earned))
        if on_trial is not None:
            on_trial(trials[-1])
        return earned.ndcg

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=config.seed))
    try:
        study.optimize(objective, config.n_trials, None if math.isinf(config.seconds) else config.seconds)
    except KeyboardInterrupt:
        if not trials:
            raise
    return sorted(trials, key=lambda trial: -trial.earned.ndcg)


def _gather(
    messages: Sequence[Event | Request], items: Sequence[Item], config: TuningConfig, progress: Progress | None
) -> Examples:
    until_at = until(messages, config.train_share)
    past = [message for message in messages if message.timestamp <= until_at]
    gathered = Gathered(config.max_examples / max(len(past), 1), config.seed)
    for examples in walk(past, items, config.walk, progress):
        gathered.add(examples)
    return gathered.enough(config.least_examples)


def _blend(trial: Any, valid: Examples) -> tuple[dict[str, Any], Floats]:
    """Try weights of the sources: what they are, and the (B, C) scores that they give."""
    weights = {source: trial.suggest_float(f"weight_{source}", 0.0, 1.0) for source in SOURCES}
    scores = valid.inputs.features[:, :, : len(SOURCES)] @ np.array([*weights.values()], np.float32)
    return {source: round(weight, 3) for source, weight in weights.items()}, scores


def _network(
    trial: Any, kind: str, train: Examples, valid: Examples, config: TuningConfig
) -> tuple[dict[str, Any], Floats]:
    """Try how to train a network: the settings, and the (B, C) scores that it gives."""
    settings = {
        "loss": trial.suggest_categorical("loss", list(LOSSES)),
        "learning_rate": _short(trial.suggest_float("learning_rate", 1e-4, 3e-2, log=True)),
        "weight_decay": _short(trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)),
        "batch_size": trial.suggest_categorical("batch_size", [64, 256, 1_024]),
    }
    chosen = TrainConfig(kind=cast("NetworkName", kind), max_epochs=config.max_epochs, seed=config.seed, **settings)
    model = fit(train.inputs, train.label_index, train.present, chosen)
    return settings, NetworkRanker(model).score(valid.inputs)


def _short(value: float) -> float:
    """Round to three digits, so that what was tried can be typed."""
    return float(f"{value:.3g}")
