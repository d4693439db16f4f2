import numpy as np

from models.offline.backtest.outcomes import Outcomes, Target, over_time


def test_slices_follow_time_whatever_the_order_of_the_predictions():
    outcomes = Outcomes([Target("u", "a", at, 1, None) for at in (4, 1, 3, 2)])
    outcomes.records["m"].ranks.append(np.array([1, 0, 1, 5]))
    slices = over_time(outcomes, 3, n_slices=2)
    assert slices.at.tolist() == [1.5, 3.5]
    assert slices.hit_rates["m"].tolist() == [0, 1]


def test_nothing_judged_makes_no_slices():
    assert len(over_time(Outcomes(), 3).at) == 0
