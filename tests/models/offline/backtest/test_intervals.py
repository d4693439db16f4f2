import numpy as np
import pytest

from models.offline.backtest.intervals import Units


def test_an_interval_surrounds_the_mean_and_narrows_with_more_users():
    rng = np.random.default_rng(0)
    widths = []
    for n in (50, 5_000):
        values = rng.random(n)
        low, high = Units([f"u-{i}" for i in range(n)]).interval(values)
        assert low < values.mean() < high
        widths.append(high - low)
    # The standard error of a uniform mean is 0.289 / sqrt(n).
    assert widths == pytest.approx([2 * 1.96 * 0.289 / np.sqrt(n) for n in (50, 5_000)], rel=0.15)


def test_predictions_of_one_user_are_drawn_together():
    values = np.repeat([0.0, 1.0], 500)
    together = Units(["u"] * 500 + ["v"] * 500).interval(values)
    apart = Units([f"u-{i}" for i in range(1_000)]).interval(values)
    assert together == (0.0, 1.0)
    assert apart[1] - apart[0] < 0.1


def test_a_difference_that_every_user_shares_is_significant_and_one_by_chance_is_not():
    units = Units([f"u-{i}" for i in range(200)])
    rng = np.random.default_rng(0)
    assert units.p_value(np.ones(200)) < 0.01
    assert units.p_value(rng.choice([-1.0, 1.0], 200)) > 0.05
    assert units.p_value(np.zeros(200)) == 1.0


def test_without_predictions_there_is_nothing_to_say():
    assert Units([]).interval(np.empty(0)) == (0.0, 0.0)
    assert Units([]).p_value(np.empty(0)) == 1.0
