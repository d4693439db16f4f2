"""How far predicted probabilities can be believed: what was predicted beside what came of it, in bins."""

import numpy as np

from models.numeric.arrays import Bools, Doubles, Int64s

EDGES: Doubles = 1 / (1 + np.exp(-np.arange(-8.0, 4.51, 0.5)))
"""Probabilities between which predictions are put together: half a unit of log-odds apart, so that rare and frequent
events are told apart alike. Bins of equal width would put all clicks of a shop into one, and hide what is wrong."""
N_BINS = len(EDGES) + 1
N_COLUMNS = 3
"""Of a bin: predictions, their probabilities added up, how many came true."""


def bins_of(probabilities: Doubles) -> Int64s:
    """Find the bins of (M,) probabilities: (M,)."""
    return np.searchsorted(EDGES, probabilities, side="right")


def reliability(probabilities: Doubles, came_true: Bools) -> Doubles:
    """Put (M,) predictions together with what came of them: (N, 3) columns, to be added to others."""
    bins = bins_of(probabilities)
    columns = (np.ones(len(bins)), probabilities, came_true.astype(np.float64))
    return np.stack([np.bincount(bins, column, N_BINS) for column in columns], axis=1)


def calibration_error(table: Doubles) -> float:
    """Return the expected calibration error of an (N, 3) table: the mean gap of a prediction's bin; NaN without any.

    References
    ----------
    M. P. Naeini, G. Cooper, M. Hauskrecht. Obtaining well calibrated probabilities using Bayesian binning. AAAI 2015.
    """
    n = table[:, 0].sum()
    return float(np.abs(table[:, 1] - table[:, 2]).sum() / n) if n else float("nan")
