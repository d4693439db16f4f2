"""Traffic shares that move while an experiment runs: which are in force at a moment, for new users.

Shares take effect some event time after the look that asks for them. By then every process knows them, so the same
event assigns its user to the same variant in each process, and in a replay.
"""

from bisect import bisect_right
from collections.abc import Sequence

from models.experiments.assign.declaration import Experiment
from models.messages import ExperimentResult, TrafficPoint

Shares = tuple[float, ...]
"""By variant, as declared; they sum to 1."""

NOTICE_MS = 60_000
"""Event time between a look and the shares that it asks for."""
MIN_STEP = 0.01
"""Shares that differ by less from those in force are not worth another point."""
MAX_CHANGES = 128
"""Newest changes that are remembered."""

_TOLERANCE = 1e-6


def planned_shares(experiment: Experiment) -> Shares:
    """Return the shares that the weights declare."""
    total = sum(variant.weight for variant in experiment.variants)
    return tuple(variant.weight / total for variant in experiment.variants)


def may_move(experiment: Experiment) -> bool:
    """Tell whether a verdict or a bandit may move the experiment's traffic: only where it says so."""
    analysis = experiment.analysis
    return experiment.kind == "split" and analysis.moves_traffic


def stop_shares(experiment: Experiment, best: int) -> Shares:
    """Return the shares after a stop: all but the holdback for the best variant, which the others divide as planned."""
    planned, held = planned_shares(experiment), experiment.analysis.holdback
    others = 1 - planned[best]
    return tuple(1 - held if v == best else held * share / others for v, share in enumerate(planned))


def weight_of(planned: Sequence[float], shares: Sequence[float], v: int) -> float:
    """Return what a user of variant `v` counts for who was assigned by `shares`; 1 where those are the planned ones.

    The inverse of the user's own share, times the harmonic mean of all shares (generalised overlap weights: Li and Li
    2019, Propensity score weighting for causal inference with multiple treatments), relative to the same of the planned
    shares. So users of all variants stand for the same users, whenever they came; and a time in which a variant hardly
    got anybody, of which the comparison hardly says anything, counts for as little as it says (as the evaluation
    weights of Hadad, Hirshberg, Zhan, Wager and Athey 2021, Confidence intervals for policy evaluation in adaptive
    experiments). It is at most `planned[v]` times the sum of 1 / planned, however small a share was; and 0 where a
    variant got nobody, since nothing can be compared then.
    """
    if min(shares) <= 0:
        return 0.0
    return planned[v] / shares[v] * sum(1 / share for share in planned) / sum(1 / share for share in shares)


def permits(experiment: Experiment, shares: Sequence[float]) -> bool:
    """Tell whether shares are within what the experiment declares.

    The planned shares always are; all but the holdback for one variant with `stop`, any within the bounds with
    `bandit`.
    """
    if len(shares) != len(experiment.variants) or abs(sum(shares) - 1) > _TOLERANCE or min(shares) < 0:
        return False
    if not differ(shares, planned_shares(experiment), _TOLERANCE):
        return True
    # A step less than all is as near as `steer` goes.
    if experiment.analysis.stop and max(shares) > 1 - experiment.analysis.holdback - MIN_STEP:
        return True
    bounds = experiment.analysis.bandit
    return bounds is not None and all(bounds.low - _TOLERANCE <= share <= bounds.high + _TOLERANCE for share in shares)


def differ(some: Sequence[float], others: Sequence[float], by: float) -> bool:
    """Tell whether any variant's shares differ by more than `by`."""
    return any(abs(one - other) > by for one, other in zip(some, others, strict=True))


def steer(points: list[TrafficPoint], asked: Shares, planned: Shares, now: int) -> Shares:
    """Add the shares that a look asks for to those of earlier looks, where they differ enough.

    Parameters
    ----------
    points : the oldest first; at most MAX_CHANGES stay.
    now : event time of the look.

    Returns
    -------
    The shares that hold from now on.
    """
    newest = tuple(points[-1].shares) if points else planned
    if not differ(asked, newest, MIN_STEP):
        return newest
    points.append(TrafficPoint(now + NOTICE_MS, list(asked)))
    del points[:-MAX_CHANGES]
    return asked


class Traffic:
    """The shares that results of `evaluate` ask for, as far as the experiments permit them.

    Parameters
    ----------
    declared : results of other experiments, and of those whose traffic may not move, are ignored.
    """

    def __init__(self, declared: Sequence[Experiment] = ()) -> None:
        self._moving = {experiment.digest(): experiment for experiment in declared if may_move(experiment)}
        self._newest: dict[str, int] = {}
        self._points: dict[str, tuple[TrafficPoint, ...]] = {}

    @property
    def may_move(self) -> bool:
        """Whether any experiment's traffic may move: else there is nothing to follow."""
        return bool(self._moving)

    def take(self, result: ExperimentResult) -> int:
        """Take in a result unless it is older than the last; returns how many of its shares are not permitted.

        One assignment replaces what was known, so that another thread may ask meanwhile.
        """
        experiment = self._moving.get(result.digest)
        if experiment is None or result.updated_at < self._newest.get(result.digest, 0):
            return 0
        self._newest[result.digest] = result.updated_at
        permitted = tuple(point for point in result.traffic if permits(experiment, point.shares))
        self._points[result.digest] = permitted
        return len(result.traffic) - len(permitted)

    def in_force(self, digest: str, at: int) -> Shares | None:
        """Return the shares by which a user who is new at `at` (event time) is assigned; None: as planned."""
        points = self._points.get(digest, ())
        n_begun = bisect_right(points, at, key=lambda point: point.from_at)
        return tuple(points[n_begun - 1].shares) if n_begun else None
