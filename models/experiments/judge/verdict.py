"""What the figures of an experiment say now: one rule for the flow and for planning by simulation."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from models.experiments.assign.declaration import Rules
from models.experiments.judge.moments import Chosen, Estimate
from models.experiments.judge.sequential import Interval, difference, lift, mismatch_p, sequential_p
from models.numeric.arrays import Bools, Doubles, Int64s

Verdict: TypeAlias = Literal["running", "winner", "harmful", "no difference", "mismatch"]
"""`no difference`: any true lift lies within delta. `mismatch`: users did not fall into the variants as planned."""

GuardVerdict: TypeAlias = Literal["holds", "broken", "open"]
"""`broken`: any true lift is beyond the margin."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A treatment beside the control, of any shape."""

    difference: Interval
    lift: Interval
    p: Doubles
    verdict: NDArray[np.str_]

    def __getitem__(self, chosen: Chosen) -> "Comparison":
        """Take a part of the shape."""
        return Comparison(self.difference[chosen], self.lift[chosen], self.p[chosen], self.verdict[chosen])


def compare(
    treatment: Estimate,
    control: Estimate,
    mismatch: Bools,
    rules: Rules,
    n_treatments: int = 1,
    better: int | Int64s = 1,
) -> Comparison:
    """Compare a treatment with the control.

    Parameters
    ----------
    mismatch : where the users did not fall as planned.
    n_treatments : compared with the same control; they share alpha (Bonferroni).
    better : 1 where more of the metric is good, -1 where less is; one for all or of their shape.
    """
    alpha = rules.alpha / n_treatments
    # Where nobody differs from anybody yet, the variance is 0 and says nothing.
    enough = (np.minimum(treatment.n, control.n) >= rules.min_users) & (treatment.variance + control.variance > 0)
    treatment = replace(treatment, variance=np.where(enough, treatment.variance, np.inf))
    between = difference(treatment, control, alpha, rules.tuned_at)
    relative = lift(treatment, control, alpha, rules.tuned_at)
    above, below = between.low > 0, between.high < 0
    is_better, is_worse = (np.where(np.asarray(better) > 0, *sides) for sides in ((above, below), (below, above)))
    verdict = np.select(
        [
            np.broadcast_to(mismatch, above.shape),
            is_better,
            is_worse,
            relative.within(-rules.delta, rules.delta),
        ],
        ["mismatch", "winner", "harmful", "no difference"],
        "running",
    )
    p = np.minimum(1.0, sequential_p(treatment, control, alpha, rules.tuned_at) * n_treatments)
    return Comparison(between, relative, p, verdict)


def is_mismatch(counts: Doubles, shares: Doubles, rules: Rules) -> Bools:
    """Tell where the users' numbers (..., V) contradict the planned shares (V,)."""
    return np.asarray(mismatch_p(counts, shares) <= rules.mismatch_alpha)


def overall(verdicts: list[Verdict]) -> Verdict:
    """Join the treatments' verdicts: one winner is enough to win, for the rest all have to agree."""
    for decisive in ("mismatch", "winner"):
        if decisive in verdicts:
            return decisive
    return verdicts[0] if len(set(verdicts)) == 1 else "running"


def guard_verdict(lift: Interval, margin: float) -> GuardVerdict:
    """Say whether a guardrail's metric is non-inferior: no lift beyond its margin is possible any more.

    Parameters
    ----------
    lift : one interval.
    margin : the largest lift to be borne, above 0 where less of the metric is good, else below 0.
    """
    worst, best = (lift.high, lift.low) if margin > 0 else (-lift.low, -lift.high)
    if worst <= abs(margin):
        return "holds"
    return "broken" if best > abs(margin) else "open"


def verdicts_of(compared: Comparison) -> list[Verdict]:
    """Return the verdicts of comparisons of shape (N,)."""
    return [VERDICTS[VERDICTS.index(verdict)] for verdict in compared.verdict.tolist()]
