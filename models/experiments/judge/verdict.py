"""What the figures of an experiment say now: one rule for the flow and for planning by simulation."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from models.experiments.assign.declaration import Rules
from models.experiments.judge.moments import Estimate
from models.experiments.judge.sequential import Interval, difference, lift, mismatch_p, sequential_p
from models.numeric.arrays import Bools, Doubles

Verdict: TypeAlias = Literal["running", "winner", "harmful", "no difference", "mismatch"]
"""`no difference`: any true lift lies within delta. `mismatch`: users did not fall into the variants as planned."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A treatment beside the control, of any shape."""

    difference: Interval
    lift: Interval
    p: Doubles
    verdict: NDArray[np.str_]


def compare(
    treatment: Estimate, control: Estimate, mismatch: Bools, rules: Rules, n_treatments: int = 1, better: int = 1
) -> Comparison:
    """Compare a treatment with the control.

    Parameters
    ----------
    mismatch : where the users did not fall as planned.
    n_treatments : compared with the same control; they share alpha (Bonferroni).
    better : 1 where more of the metric is good, -1 where less is.
    """
    alpha = rules.alpha / n_treatments
    # Where nobody differs from anybody yet, the variance is 0 and says nothing.
    enough = (np.minimum(treatment.n, control.n) >= rules.min_users) & (treatment.variance + control.variance > 0)
    treatment = replace(treatment, variance=np.where(enough, treatment.variance, np.inf))
    between = difference(treatment, control, alpha, rules.tuned_at)
    relative = lift(treatment, control, alpha, rules.tuned_at)
    above, below = between.low > 0, between.high < 0
    verdict = np.select(
        [
            np.asarray(mismatch),
            above if better > 0 else below,
            below if better > 0 else above,
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


def verdict_of(compared: Comparison) -> Verdict:
    """Return the verdict of one comparison, not of many at once."""
    return VERDICTS[VERDICTS.index(compared.verdict.item())]
