"""What the candidate sources weigh in a blend, by how long each session is."""

from collections.abc import Collection

import numpy as np

from models.names import FEATURES, SOURCES, SourceName
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.strategy import Strategy

_SESSION_LENGTH = FEATURES.index("session_length")


def list_shares(strategy: Strategy, silent: Collection[SourceName] = ()) -> list[list[float]]:
    """List what the sources weigh at each length of a session (`Strategy.every_sources`), each adding up to 1.

    Parameters
    ----------
    silent : sources that cannot propose anything, and have no weight.
    """
    rows = [
        [0.0 if name in silent else weights.get(name, 0.0) for name in SOURCES] for weights in strategy.every_sources
    ]
    totals = [sum(row) or 1.0 for row in rows]
    return [[weight / total for weight in row] for row, total in zip(rows, totals, strict=True)]


def lengths_reached(strategy: Strategy, n_acts: Int32s | Int64s) -> Int64s:
    """(B,) which of `Strategy.every_sources` holds in sessions of (B,) acts."""
    return np.searchsorted([longer.from_acts for longer in strategy.sources_by_session], n_acts, side="right")


def weigh_sources(strategy: Strategy, n_acts: Int64s) -> Doubles:
    """(B, S) weights of the sources in sessions of (B,) acts, each row adding up to 1."""
    weights: Doubles = np.array(list_shares(strategy))[lengths_reached(strategy, n_acts)]
    return weights


def blend_again(features: Floats, strategy: Strategy) -> Floats:
    """(B, C) what a strategy's weights make of candidates that were found by others, from their (B, C, F) features.

    A source that named none of a query's candidates is taken for one that could not.
    """
    shares = features[..., : len(SOURCES)]  # (B, C, S)
    n_acts = np.rint(np.expm1(10 * features[:, 0, _SESSION_LENGTH].astype(np.float64))).astype(np.int64)
    weights = np.where(shares.any(axis=1), weigh_sources(strategy, n_acts), 0.0)
    totals = weights.sum(axis=1, keepdims=True)
    weights /= np.where(totals > 0, totals, 1.0)
    scores: Floats = np.einsum("bcs,bs->bc", shares, weights.astype(np.float32))
    return scores
