from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.assign.declaration import TUNED_AT
from models.experiments.judge.moments import Estimate
from models.experiments.judge.sequential import (
    Interval,
    difference,
    lift,
    sequential_p,
)
from models.numeric.anytime import mixture_precision, reach
from tests.models.experiments.builders import an_estimate

MEANS = st.floats(0.01, 10)
VARIANCES = st.floats(1e-6, 1e-1)
USERS = st.floats(100, 1e6)
FIXED_REACH = 1.959964
"""Standard errors of a fixed-horizon interval at alpha = 0.05."""


def excludes(interval: Interval, value: float) -> np.ndarray:
    return (interval.low > value) | (interval.high < value)


def test_the_half_width_is_the_published_formula():
    n, variance, alpha, rho2 = 20_000.0, 4e-6, 0.05, mixture_precision(0.05, TUNED_AT)
    published = sqrt(n * variance) * sqrt(2 * (n * rho2 + 1) * log(sqrt(n * rho2 + 1) / alpha) / (n**2 * rho2))
    between = difference(an_estimate(0.2, 3e-6, 12_000), an_estimate(0.1, 1e-6, 8_000), alpha)
    assert (between.high - between.low) / 2 == pytest.approx(published)
    assert (between.high + between.low) / 2 == pytest.approx(0.1)


def test_the_sequence_is_wider_than_a_fixed_horizon_and_tightest_near_where_it_is_tuned():
    users = np.geomspace(500, 500_000, 400)
    widths = reach(users, 0.05, 5_000)
    assert (widths > 1.4 * FIXED_REACH).all()
    assert 2_500 < users[widths.argmin()] < 10_000


@given(MEANS, MEANS, VARIANCES, VARIANCES, USERS)
def test_the_lift_excludes_zero_exactly_where_the_difference_does(t: float, c: float, vt: float, vc: float, n: float):
    treatment, control = an_estimate(t, vt, n), an_estimate(c, vc, n)
    relative, between = lift(treatment, control, 0.05), difference(treatment, control, 0.05)
    if np.isfinite(relative.low) and min(abs(between.low), abs(between.high)) > 1e-9:
        assert excludes(relative, 0) == excludes(between, 0)
        assert relative.low <= t / c - 1 + 1e-9
        assert relative.high >= t / c - 1 - 1e-9


@given(MEANS, MEANS, VARIANCES, USERS)
def test_the_p_value_is_the_level_at_which_the_sequence_excludes_zero(t: float, c: float, variance: float, n: float):
    treatment, control = an_estimate(t, variance, n), an_estimate(c, variance, n)
    p = float(sequential_p(treatment, control, 0.05))
    # The mixture stays tuned for 0.05 while the level moves; so does the p-value.
    rho2_n = 2 * n * mixture_precision(0.05, TUNED_AT)
    if 1e-12 < p < 1:
        half = sqrt(2 * (rho2_n + 1) / rho2_n * log(sqrt(rho2_n + 1) / p)) * sqrt(2 * variance)
        assert abs(t - c) == pytest.approx(half)


def test_the_lift_over_a_control_that_may_be_zero_is_unbounded():
    relative = lift(an_estimate(1.0), an_estimate(1e-9, 1e-3), 0.05)
    assert (relative.low, relative.high) == (-np.inf, np.inf)


def test_many_looks_are_bounded_at_once():
    treatment, control = an_estimate(0.2), an_estimate(0.1)
    both = Estimate(np.full(2, 1e3), np.array([0.2, 0.1]), np.full(2, 1e-6), np.full(2, 1e-6), np.full(2, 1e3))
    expected = lift(treatment, control, 0.05)
    assert expected.low.shape == ()
    assert lift(both, control, 0.05).low.tolist() == [expected.low, lift(control, control, 0.05).low]


def test_an_interval_lies_within_bounds_or_not():
    interval = Interval(np.array([-0.1, 0.1]), np.array([0.1, 0.2]))
    assert interval.within(-0.15, 0.15).tolist() == [True, False]
