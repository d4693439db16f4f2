import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from models.experiments.judge.bandit import probability_best, within_bounds
from models.experiments.judge.moments import Estimate


def arms(*means: float, variance: float = 0.01) -> Estimate:
    users, spread = np.full(len(means), 100.0), np.full(len(means), variance)
    return Estimate(users, np.array(means), spread, spread, users)


def test_the_probability_of_the_better_of_two_is_the_normal_integral():
    first, second = probability_best(arms(0.0, 0.1), seed=1)
    assert second == pytest.approx(norm.cdf(0.1 / np.sqrt(0.02)), abs=0.02)
    assert first + second == pytest.approx(1)


def test_where_less_is_better_the_lower_arm_is_the_best():
    assert probability_best(arms(0.0, 5.0), seed=1, better=-1).tolist() == [1, 0]


def test_an_unknown_arm_leaves_all_equally_probable():
    assert probability_best(arms(0.0, 5.0, variance=np.inf), seed=1).tolist() == [0.5, 0.5]


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6))
def test_shares_stay_in_bounds_in_their_order_and_sum_to_one(raw: list[float]):
    shares = np.array(raw) / sum(raw)
    found = within_bounds(shares, 0.1, 0.6)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0.1).all()
    assert (found <= 0.6).all()
    assert (np.diff(found[np.argsort(shares)]) >= 0).all()


def test_shares_within_the_bounds_are_left_alone():
    assert within_bounds(np.array([0.3, 0.7]), 0.1, 0.9) == pytest.approx([0.3, 0.7])


def test_bounds_that_nothing_can_meet_are_refused():
    with pytest.raises(ValueError, match="at most 1/3"):
        within_bounds(np.full(3, 1 / 3), 0.4, 0.9)
