"""What is decided, once, and the traffic that follows from it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.experiments.assign.declaration import Experiment
from models.experiments.assign.traffic import Shares, planned_shares, stop_shares
from models.experiments.judge.bandit import probability_best, within_bounds
from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.moments import Estimate
from models.experiments.judge.tally import Tally
from models.experiments.judge.verdict import VERDICTS, Verdict
from models.messages import Decision
from models.numeric.arrays import Doubles
from models.numeric.ids import hash64


def preferred(verdict: Verdict, names: Sequence[str], verdicts: Sequence[Verdict], goodness: Doubles) -> str | None:
    """Name the variant that a verdict prefers: the best of the winners, or the control.

    Parameters
    ----------
    names : the control first.
    verdicts : of the treatments.
    goodness : (V,) estimates, more being better.
    """
    if verdict == "winner":
        wins = np.array([False, *(treatment == "winner" for treatment in verdicts)])
        return names[int(np.where(wins, goodness, -np.inf).argmax())]
    return names[0] if verdict == "harmful" else None


def decided(known: Decision | None, verdict: Verdict, better: str | None, at: int, users: int) -> Decision | None:
    """Return the first verdict that fell; a mismatch, which may pass, gives way to another.

    Parameters
    ----------
    known : what had been decided before.
    verdict, better : of the moment, and the variant that it prefers.
    """
    if verdict != "running" and (known is None or known.verdict == "mismatch" != verdict):
        return Decision(verdict, at, users, better)
    if known is not None and known.variant is None and known.verdict == verdict:
        return replace(known, variant=better)  # an earlier release did not say which
    return known


def standing(verdict: Verdict, decision: Decision | None) -> Verdict:
    """Return the verdict that holds: what has been decided, unless the users no longer fall as planned.

    The probability that a wrong one ever falls is alpha at most, at all looks together. So what a later look does not
    see any more is no reason to take it back.
    """
    if decision is None or "mismatch" in (verdict, decision.verdict):
        return verdict
    return VERDICTS[VERDICTS.index(decision.verdict)]


def asked_shares(tally: Tally, experiment: Experiment, goal: Estimate, verdict: Verdict) -> Shares:
    """Return which share of the new users each variant should get.

    A stop follows what was decided, never the verdict of the moment, and nothing moves it back.

    Parameters
    ----------
    goal : (V,) estimates of the metric that decides.
    verdict : of the moment.
    """
    analysis, decision = experiment.analysis, tally.decision
    names = [variant.name for variant in experiment.variants]
    if analysis.stop and decision is not None and decision.variant in names:
        return stop_shares(experiment, names.index(decision.variant))
    enough = goal.n.min() >= analysis.rules.min_users
    if analysis.bandit is None or not enough or verdict == "mismatch" or tally.is_unweighted:
        return planned_shares(experiment)  # nobody should act on such figures
    seed = hash64(f"{experiment.name}/{sum(tally.arm(name).judged.users for name in names)}")
    best = probability_best(goal, seed, METRICS[INDEX_OF[analysis.goal]].better)
    return tuple(within_bounds(best, analysis.bandit.low, analysis.bandit.high).tolist())
