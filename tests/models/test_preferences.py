from math import exp

import pytest
from river import linear_model, optim

from models.decay import DecayedSums, cosine_distance, strongest
from models.preferences import Preferences, shared_preferences

HOUR_MS = 3_600_000


def test_learning_moves_the_users_own_dict_in_place():
    weights: dict[int, float] = {}
    surprise = Preferences(0.1, 48).learn(weights, (1, 2), (2, 3))
    # sigmoid(0) = 0.5, so the gradient step is 0.1 * 0.5; attribute 2 is on both sides and says nothing.
    assert weights == pytest.approx({1: 0.05, 3: -0.05})
    assert surprise == pytest.approx(0.5)


def test_the_surprise_is_the_probability_of_the_opposite_before_the_step():
    assert Preferences(0.1, 48).learn({1: 2.0}, (1,), ()) == pytest.approx(1 / (1 + exp(2)))


def test_users_share_the_model_and_not_the_weights():
    learner = Preferences(0.1, 48)
    one: dict[int, float] = {}
    other: dict[int, float] = {}
    for _ in range(20):
        learner.learn(one, (1,), (2,))
        learner.learn(other, (2,), (1,))
    own = linear_model.LogisticRegression(optim.SGD(0.1), intercept_lr=0)
    for _ in range(20):
        own.learn_one({1: 1.0, 2: -1.0}, y=True)
    assert one == pytest.approx(own.weights)
    assert other == pytest.approx({1: -one[1], 2: -one[2]})


def test_items_with_the_same_attributes_teach_nothing():
    weights = {1: 0.3}
    assert Preferences(0.1, 48).learn(weights, (1, 2), (2, 1)) == 0.5
    assert weights == {1: 0.3}


def test_the_weakest_preferences_make_room():
    weights = {1: 0.9, 2: -0.8, 3: 0.001, 4: 0.7}
    Preferences(0.1, 4).learn(weights, (5,), ())
    assert set(weights) == {1, 2, 4}


def test_one_learner_serves_all_users_of_a_process():
    assert shared_preferences(0.1, 48) is shared_preferences(0.1, 48)
    assert shared_preferences(0.1, 48) is not shared_preferences(0.2, 48)


def test_a_sum_halves_every_half_life():
    sums = DecayedSums(HOUR_MS)
    sums.add((7,), 4.0, 1_000)
    assert sums.at(1_000 + 2 * HOUR_MS) == pytest.approx({7: 1.0})


def test_a_year_of_short_half_lives_neither_overflows_nor_changes_what_is_read():
    sums = DecayedSums(HOUR_MS)
    for hour in range(24 * 365):
        sums.add((7,), 1.0, hour * HOUR_MS)
    # 1 + 1/2 + 1/4 + ... = 2
    assert sums.at((24 * 365 - 1) * HOUR_MS) == pytest.approx({7: 2.0})


def test_sums_restored_under_another_half_life_keep_their_value_and_decay_anew():
    old = DecayedSums(HOUR_MS)
    old.add((7,), 8.0, 0)
    new = DecayedSums(2 * HOUR_MS)
    new.restore(old.scaled, old.landmark, HOUR_MS, at=HOUR_MS)
    assert new.at(HOUR_MS) == pytest.approx({7: 4.0})
    assert new.at(3 * HOUR_MS) == pytest.approx({7: 2.0})


def test_the_strongest_are_kept_by_absolute_value():
    assert set(strongest({1: -5.0, 2: 0.1, 3: 2.0, 4: 1.0, 5: 0.2}, 4)) == {1, 3, 4}


@pytest.mark.parametrize(
    ("right", "distance"),
    [
        ({1: 2.0, 2: 0.0}, 0.0),
        ({1: 0.0, 2: 3.0}, 1.0),
        ({1: 1.0, 2: 1.0}, 1 - 0.5**0.5),
        ({1: -1.0, 2: 0.0}, 1.0),
        ({1: 0.0, 2: 0.0}, 0.0),
    ],
)
def test_the_cosine_distance_lies_between_0_and_1(right: dict[int, float], distance: float):
    assert cosine_distance({1: 1.0, 2: 0.0}, right) == pytest.approx(distance)
