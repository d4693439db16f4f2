"""What the candidate sources weigh in a blend, by how long each session is."""

import numpy as np

from models.names import FEATURES, SOURCES
from models.numeric.arrays import Bools, Doubles, Floats, Int32s, Int64s
from models.strategy import Strategy

_SESSION_LENGTH = FEATURES.index("session_length")


def weigh_sources(strategy: Strategy, n_acts: Int32s | Int64s, is_silent: Bools | None = None) -> Doubles:
    """(B, S) weights of the sources in sessions of (B,) acts, each row adding up to 1.

    Parameters
    ----------
    is_silent : (B, S) sources that cannot propose anything, and have no weight; None: all can.
    """
    lengths = [longer.from_acts for longer in strategy.sources_by_session]
    rows = np.array([[sources.get(name, 0.0) for name in SOURCES] for sources in strategy.every_sources], np.float64)
    weights: Doubles = rows[np.searchsorted(lengths, n_acts, side="right")]
    if is_silent is not None:
        weights[is_silent] = 0.0
    totals = weights.sum(axis=1, keepdims=True)
    return weights / np.where(totals > 0, totals, 1.0)


def blend_again(features: Floats, strategy: Strategy) -> Floats:
    """(B, C) what a strategy's weights make of candidates that were found by others, from their (B, C, F) features.

    A source that named none of a query's candidates is taken for one that could not.
    """
    shares = features[..., : len(SOURCES)]  # (B, C, S)
    n_acts = np.rint(np.expm1(10 * features[:, 0, _SESSION_LENGTH].astype(np.float64))).astype(np.int64)
    is_silent: Bools = (shares == 0).all(axis=1)
    weights = weigh_sources(strategy, n_acts, is_silent).astype(np.float32)
    scores: Floats = np.einsum("bcs,bs->bc", shares, weights)
    return scores
