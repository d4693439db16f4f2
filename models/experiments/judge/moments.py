"""Sums over users, from which a metric is estimated: they add up, so they can be streamed, merged and corrected.

A metric is a ratio of two sums over users, as clicks / impressions; where the second counts 1 a user it is a mean.
Beside both stand the same two from before the user's exposure, by which CUPED reduces the variance.
"""

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np

from models.numeric.arrays import Doubles

ROUNDING = 1e-12
"""A variance below this, relative to the squared mean, is taken for none."""

N_VALUES = 4
"""Of a user and a metric: numerator, denominator, and both from before the exposure."""


Chosen: TypeAlias = int | slice | tuple[int | slice, ...]
"""A part of arrays that have one shape."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric in an arm, of any shape: one number, or one a simulated run and look."""

    n: Doubles
    """Users as effective as these: (sum of a)^2 / sum of a^2, a being a user's weight times what the user adds to the
    denominator (Kish 1965). Where a few hold most impressions, their number is it, however many others there are."""
    mean: Doubles
    variance: Doubles
    """Of the mean, not of a user; beside another arm's, from which the same past was taken."""
    own_variance: Doubles
    """Of the mean by itself: it bears the error of the past's mean as well, which is one for all arms."""
    time: Doubles
    """Of the confidence sequence: users who, by the planned shares, would have brought as much variance into the sums.
    Without moved shares it is the number of users, as `n` is."""

    def __getitem__(self, chosen: Chosen) -> "Estimate":
        """Take a part of the shape."""
        return Estimate(*(getattr(self, field.name)[chosen] for field in fields(self)))


def gram(values: Doubles) -> Doubles:
    """Multiply out (1, values): the sums of one user, (..., 4) to (..., 5, 5).

    Those of an arm are their sum. A user's that have changed are replaced by adding the new and taking away the old.
    """
    with_one = np.concatenate([np.ones((*values.shape[:-1], 1)), values], axis=-1)
    return np.asarray(with_one[..., :, None] * with_one[..., None, :])


def estimate(arm: Doubles, everybody: Doubles) -> Estimate:
    """Estimate a metric from an arm's sums: weighted, by the delta method, adjusted by CUPED.

    Weighted by the inverse of the shares by which each user was assigned, and augmented by a linear model of the past
    that is fitted to the same sums (an intercept an arm, a slope for all): AIPW in its self-normalised form, consistent
    whatever the model is worth, since the shares are known (Robins, Rotnitzky and Zhao 1994). Its terms are a
    martingale's differences, however earlier outcomes have moved the shares.

    The user is the unit of randomisation, so the variance of a ratio is that of its linear form at the user
    (Deng, Knoblich and Lu 2018, Applying the Delta Method in Metric Analytics). What the same ratio was before exposure
    explains a part of it, with the slope theta of all arms together (Deng, Xu, Kohavi and Walker 2013, CUPED). Where
    nothing was known before, theta is 0.

    A user varies at least as much as one of all arms together, which is what equal arms have in common. An arm of which
    nobody has converted yet, a hundredth of the traffic beside a rare event, would else be certain that nobody does:
    four of five equal arms were called harmful.

    Parameters
    ----------
    arm, everybody : (..., 2, 5, 5) sums of `gram`, by the users' weights and by their squares, of the arm and of all
        arms.

    Returns
    -------
    Of shape (...); an arm of fewer than two users, or with nothing to divide by, has an infinite variance.
    """
    n, ratios, spread = _ratios(arm[..., 0, :, :], arm[..., 1, :, :])
    n_all, all_ratios, all_spread = _ratios(everybody[..., 0, :, :], everybody[..., 1, :, :])
    theta = _divide(all_spread[..., 0, 1], all_spread[..., 1, 1])
    mean = ratios[..., 0] - theta * (ratios[..., 1] - all_ratios[..., 1])
    # By the weights and not their squares, of which an arm that hardly anybody got would hold nearly all.
    _, _, common = _ratios(everybody[..., 0, :, :], everybody[..., 0, :, :])
    left = np.maximum(_left(spread, theta, ratios), _left(common, theta, all_ratios))
    is_known = (n >= 2) & (arm[..., 0, 0, 2] > 0)
    variance = np.where(is_known, _divide(left, n), np.inf)
    of_past = _divide(theta**2 * all_spread[..., 1, 1], n_all)
    carried = _divide(arm[..., 0, 0, 2] ** 2, arm[..., 1, 2, 2])
    return Estimate(carried, mean, variance, variance + of_past, arm[..., 1, 0, 0])


def _left(spread: Doubles, theta: Doubles, ratios: Doubles) -> Doubles:
    """Return what a user varies by once the past is taken away; 0 where that is no more than rounding."""
    left = spread[..., 0, 0] - 2 * theta * spread[..., 0, 1] + theta**2 * spread[..., 1, 1]
    return np.where(left > ROUNDING * ratios[..., 0] ** 2, left, 0.0)


def _ratios(sums: Doubles, squared: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return n (...), the ratios (..., 2) during and before, and the covariance (..., 2, 2) of their linear forms."""
    total, squares = sums[..., 0, 0], squared[..., 0, 0]
    n = _divide(total**2, squares)
    mean = _divide(sums[..., 0, 1:], total[..., None])  # (..., 4)
    # The mean square of what is left of the values without the mean, by the squared weights.
    crossed = mean[..., :, None] * _divide(squared[..., 0, 1:], squares[..., None])[..., None, :]
    products = _divide(squared[..., 1:, 1:], squares[..., None, None]) - crossed - np.swapaxes(crossed, -1, -2)
    products += mean[..., :, None] * mean[..., None, :]
    covariance = products * _divide(n, n - 1)[..., None, None]
    above, below = mean[..., 0::2], mean[..., 1::2]  # (..., 2)
    ratios = _divide(above, below)
    # A user's linear form is (numerator - ratio * denominator) / mean denominator.
    slopes = np.zeros((*n.shape, 2, N_VALUES))
    for side in range(2):
        slopes[..., side, 2 * side] = _divide(np.ones_like(n), below[..., side])
        slopes[..., side, 2 * side + 1] = _divide(-ratios[..., side], below[..., side])
    return n, ratios, slopes @ covariance @ np.swapaxes(slopes, -1, -2)


def _divide(above: Doubles, below: Doubles) -> Doubles:
    """Divide; 0 where there is nothing to divide by."""
    shape = np.broadcast_shapes(above.shape, below.shape)
    return np.divide(above, below, out=np.zeros(shape), where=below > 0)
