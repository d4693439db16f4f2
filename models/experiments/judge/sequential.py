"""Tests that may be looked at any time: asymptotic confidence sequences, sequential p-values, the sample-ratio alarm.

A fixed-horizon test is wrong in 5% of the cases at one look, and in most of them when one looks until it is
significant. A confidence sequence holds at all looks together (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021,
Time-uniform central limit theory and asymptotic confidence sequences, theorem 2.2), also of sums whose terms are a
martingale's differences and whose variances move (their sequences under martingale dependence): then its time is the
variance of the sums and not the number of users.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, ndtr

from models.experiments.assign.declaration import TUNED_AT
from models.experiments.judge.moments import Chosen, Estimate
from models.numeric.anytime import mixture_precision, reach
from models.numeric.arrays import Bools, Doubles

PRIOR_USERS = 10_000.0
"""Users that the sample-ratio alarm's prior is worth: large, since broken assignments are off by percents."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds of a confidence sequence, of any shape; infinite where nothing can be said."""

    low: Doubles
    high: Doubles

    def __getitem__(self, chosen: Chosen) -> "Interval":
        """Take a part of the shape."""
        return Interval(self.low[chosen], self.high[chosen])

    def within(self, low: float, high: float) -> Bools:
        """Tell where nothing outside [low, high] is possible any more."""
        return (self.low >= low) & (self.high <= high)


def difference(treatment: Estimate, control: Estimate, alpha: float, tuned_at: float = TUNED_AT) -> Interval:
    """Bound treatment - control at all looks together, with probability 1 - alpha."""
    between = treatment.mean - control.mean
    half = reach(treatment.time + control.time, alpha, tuned_at) * _standard_error(treatment, control)
    return Interval(between - half, between + half)


def lift(treatment: Estimate, control: Estimate, alpha: float, tuned_at: float = TUNED_AT) -> Interval:
    """Bound treatment / control - 1 at all looks together, with probability 1 - alpha.

    Those ratios k for which treatment - k control may be 0 (Fieller 1954). So it excludes 0 exactly where `difference`
    does, and no error comes from dividing by a control that is itself an estimate. Unbounded while the control cannot
    be distinguished from 0.
    """
    g2 = reach(treatment.time + control.time, alpha, tuned_at) ** 2
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lead = control.mean**2 - g2 * control.variance
        rest = treatment.mean**2 - g2 * treatment.variance
        middle = treatment.mean * control.mean
        root = np.sqrt(np.maximum(middle**2 - lead * rest, 0.0))
        low, high = (middle - root) / lead - 1, (middle + root) / lead - 1
        bounded = (lead > 0) & (control.mean > 0) & np.isfinite(treatment.variance)
    return Interval(np.where(bounded, low, -np.inf), np.where(bounded, high, np.inf))


def sequential_p(treatment: Estimate, control: Estimate, alpha: float, tuned_at: float = TUNED_AT) -> Doubles:
    """Return the smallest level at which the confidence sequence of the difference excludes 0.

    The probability that it ever falls to p is p at most, where nothing differs. `alpha` says what the sequence is tuned
    for.
    """
    seen = np.maximum(treatment.time + control.time, 1) * mixture_precision(alpha, tuned_at)
    z = z_score(treatment, control)
    return np.asarray(np.minimum(1.0, np.sqrt(seen + 1) * np.exp(-0.5 * z**2 * seen / (seen + 1))))


def z_score(treatment: Estimate, control: Estimate) -> Doubles:
    """Return the difference in standard errors; 0 where there is no error to measure it by."""
    error = _standard_error(treatment, control)
    between = np.asarray(treatment.mean - control.mean)
    return np.divide(between, error, out=np.zeros(between.shape), where=(error > 0) & np.isfinite(error))


def fixed_p(treatment: Estimate, control: Estimate) -> Doubles:
    """Return the p-value of a two-sided z-test: valid at one look that was fixed in advance, and only there."""
    return np.asarray(2 * ndtr(-np.abs(z_score(treatment, control))))


def mismatch_p(counts: Doubles, shares: Doubles, concentration: float = PRIOR_USERS) -> Doubles:
    """Return a sequential p-value of "users fall into the variants by these shares": the sample-ratio alarm.

    Where they do not, no comparison of the variants can be trusted. A variant whose share is 0 says nothing until it
    has a user; then p is 0.

    One over the Bayes factor of a Dirichlet-multinomial, centred on the shares, against the planned multinomial
    (Lindon and Malek 2022, Anytime-valid inference for multinomial count data). The probability that it ever falls to p
    is p at most, where all is as planned.

    Parameters
    ----------
    counts : (..., V) users by variant.
    shares : (V,) planned; they sum to 1.

    Returns
    -------
    (...) in [0, 1].
    """
    possible = shares > 0
    has_impossible = (counts[..., ~possible] > 0).any(axis=-1)
    counts, shares = counts[..., possible], shares[possible]
    prior = concentration * shares
    n = counts.sum(axis=-1)
    evidence = (gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
    factor = evidence + gammaln(concentration) - gammaln(concentration + n)
    return np.where(has_impossible, 0.0, np.exp(-np.maximum(factor, 0.0)))


def _standard_error(treatment: Estimate, control: Estimate) -> Doubles:
    return np.sqrt(treatment.variance + control.variance)
