"""Weights of the candidate sources, fitted to a past: one set for each length of a session.

The score of a candidate is the blend's, sum_s w_s * share_s. Over all that the sources propose to a query, the weights
w >= 0 minimise

    sum_q -log softmax(score_q)[the item that the user went on to]  +  STRENGTH / 2 * ||w - start||^2

which is convex: the conditional logit of McFadden (1974), as listwise learning to rank has it (Cao et al. 2007), with a
ridge towards what is known before (Hoerl and Kennard 1970). All queries together start from the strategy's own weights,
on the scale that suits them best; those of each length of a session start from what all together came to, so a length
of few queries stays near it. The newest queries say whether that is worth it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from models.candidates.weights import weigh_sources
from models.names import SOURCES, SourceName
from models.numeric.arrays import Doubles, Int64s
from models.numeric.metrics import gains, hits
from models.offline.source_pools import SourcePools
from models.strategy import SessionSources, Strategy

LENGTHS = (0, 1, 2, 5)
"""Acts from which on a session has weights of its own: none, one, some, many."""
STRENGTH = 10.0
"""How strongly weights are held where they were; between 3 and 100 little depends on it (`models/README.md`)."""
LEAST_POOLS = 200
"""With fewer, nothing is fitted."""
HELD_OUT = 0.3
"""Newest share of the queries, which judges."""
SURE = 1.64
"""Standard errors that the gain has to be above 0: a chance of one in twenty, where there is none."""


class Earned(NamedTuple):
    """What weights earn on queries of whose answers a source knew."""

    ndcg: float
    """Among as many as there are candidates."""
    recall: float
    """The same."""

    @classmethod
    def of(cls, ranks: Int64s, n: int) -> "Earned":
        """Judge (Q,) ranks from 1."""
        return cls(float(gains(ranks, n).mean()), float(hits(ranks, n).mean()))


@dataclass(frozen=True, slots=True)
class FittedSources:
    """Weights that were worth it, and how much so on queries that they had not seen, before they were fitted to all."""

    by_session: tuple[SessionSources, ...]
    n_judged: int
    before: Earned
    """By the strategy's own weights."""
    after: Earned


def fit_sources(pools: SourcePools, strategy: Strategy) -> FittedSources | None:
    """Fit weights to pools, the oldest first; None where they are too few, or the strategy's own are as good.

    Sources that the strategy does not ask stay off.
    """
    if pools.n < LEAST_POOLS or len(strategy.asked_sources) < 2:
        return None
    n_judged = round(HELD_OUT * pools.n)
    known, judged = pools[: pools.n - n_judged], pools[pools.n - n_judged :]
    before = judged.ranks(weigh_sources(strategy, judged.n_acts))
    after = judged.ranks(_fitted(known, strategy)[_reached(judged.n_acts)])
    gain = gains(after, strategy.n_candidates) - gains(before, strategy.n_candidates)
    if gain.mean() <= SURE * gain.std() / np.sqrt(n_judged):
        return None
    return FittedSources(
        tuple(
            SessionSources(length, _named(weights, strategy))
            for length, weights in zip(LENGTHS, _fitted(pools, strategy), strict=True)
        ),
        n_judged,
        Earned.of(before, strategy.n_candidates),
        Earned.of(after, strategy.n_candidates),
    )


def _reached(n_acts: Int64s) -> Int64s:
    """(Q,) which of LENGTHS sessions of (Q,) acts have reached."""
    return np.searchsorted(LENGTHS, n_acts, side="right") - 1


def _fitted(pools: SourcePools, strategy: Strategy) -> Doubles:
    """(L, S) weights at each of LENGTHS."""
    start = weigh_sources(strategy, np.array([LENGTHS[-1]]))[0]
    loss = _Loss(pools)
    scale = minimize_scalar(lambda log_scale: loss.of(np.exp(log_scale) * start)[0], bounds=(-2, 6), method="bounded")
    of_all = _descend(loss, np.exp(scale.x) * start)
    reached = _reached(pools.n_acts)
    return np.stack([
        _descend(_Loss(part), of_all) if (part := pools[reached == length]).n else of_all
        for length in range(len(LENGTHS))
    ])  # fmt: skip


def _descend(loss: "_Loss", start: Doubles) -> Doubles:
    """Minimise the loss near (S,) weights; those that are 0 stay so."""

    def regularised(weights: Doubles) -> tuple[float, Doubles]:
        value, slope = loss.of(weights)
        away = weights - start
        return value + STRENGTH / 2 * float(away @ away), slope + STRENGTH * away

    bounds = [(0.0, None if weight > 0 else 0.0) for weight in start]
    found: Doubles = minimize(regularised, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


class _Loss:
    """Cross-entropy of what users went on to, and its slope, by the weights."""

    def __init__(self, pools: SourcePools) -> None:
        self._pools = pools
        self._shares = pools.shares.astype(np.float32)
        self._of_labels = self._shares[pools.labels].sum(axis=0, dtype=np.float64)

    def of(self, weights: Doubles) -> tuple[float, Doubles]:
        """Return the sum over all queries, and its derivatives by the (S,) weights."""
        pools, firsts = self._pools, self._pools.starts[:-1]
        scores = self._shares @ weights.astype(np.float32)
        odds = np.exp(scores - pools.spread(np.maximum.reduceat(scores, firsts)))
        totals = np.add.reduceat(odds, firsts)
        chances = odds / pools.spread(totals)
        value = -float(np.log(chances[pools.labels], dtype=np.float64).sum())
        return value, (chances @ self._shares).astype(np.float64) - self._of_labels


def _named(weights: Doubles, strategy: Strategy) -> dict[SourceName, float]:
    """Name the weights of the sources that are asked, the largest 1, with three digits."""
    return {
        name: round(float(weight), 3)
        for name, weight in zip(SOURCES, weights / weights.max(), strict=True)
        if name in strategy.asked_sources
    }
