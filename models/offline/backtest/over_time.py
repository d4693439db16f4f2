"""A figure over the time of the stream: whether a model gets better with what it learns, or falls behind."""

from typing import NamedTuple

import numpy as np

from models.numeric.arrays import Doubles
from models.numeric.metrics import hits
from models.offline.backtest.predictions import Outcomes


class OverTime(NamedTuple):
    """Hit rates by slices of the predictions, each slice as long as the others."""

    at: Doubles
    """(T,) mean time of each slice, Unix ms."""
    hit_rates: dict[str, Doubles]
    """(T,) of each model."""


def over_time(outcomes: Outcomes, k: int, n_slices: int = 40) -> OverTime:
    """Part the predictions, in time order, into at most `n_slices`, and give each model's HR@k in each."""
    at = np.array([target.at for target in outcomes.targets], np.float64)
    slices = [part for part in np.array_split(np.argsort(at, kind="stable"), n_slices) if len(part)]

    def means(values: Doubles) -> Doubles:
        return np.array([values[part].mean() for part in slices])

    return OverTime(means(at), {name: means(hits(outcomes.ranks(name), k)) for name in outcomes.records})
