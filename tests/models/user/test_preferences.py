import math

import numpy as np
import pytest
from river import linear_model, optim

from models.numeric.arrays import Hash32s
from models.numeric.decay import DecayedSums, strongest
from models.strategy import Strategy
from models.user.preferences import Preferences, shared_preferences
from models.user.query import Query
from models.user.record import States, new_state
from tests.states import evidence_of

HOUR_MS = 3_600_000


def hashes(*attributes: int) -> Hash32s:
    return np.array(attributes, np.uint32)


def learn(
    learner: Preferences,
    state: States,
    positive: Hash32s,
    negative: Hash32s,
    weight: float = 1.0,
    at: int = 1_000,
) -> float:
    return learner.learn(state, 9, at, weight, 0.0, positive, negative)


def a_state() -> States:
    return new_state(HOUR_MS, HOUR_MS)


def preferences(state: States, at: int = 1_000) -> dict[int, float]:
    return evidence_of(Query("ann", "request", "r", at, Strategy(), state.tobytes())).preferences


def test_learning_moves_the_users_own_weights():
    state = a_state()
    surprise = learn(Preferences(0.1), state, hashes(1, 2), hashes(2, 3))
    # sigmoid(0) = 0.5, so the gradient step is 0.1 * 0.5; attribute 2 is on both sides and says nothing.
    assert preferences(state) == pytest.approx({1: 0.05, 3: -0.05})
    assert surprise == pytest.approx(0.5)


def test_the_surprise_is_the_probability_that_river_gave_to_the_opposite_before_the_step():
    learner, state = Preferences(0.1), a_state()
    own = linear_model.LogisticRegression(optim.SGD(0.1), intercept_lr=0)
    for _ in range(30):
        expected = own.predict_proba_one({1: 1.0, 2: -1.0})[False]
        assert learn(learner, state, hashes(1), hashes(2)) == pytest.approx(expected, rel=1e-5)
        own.learn_one({1: 1.0, 2: -1.0}, y=True)


def test_users_share_the_model_and_not_the_weights():
    learner, one, other = Preferences(0.1), a_state(), a_state()
    own = linear_model.LogisticRegression(optim.SGD(0.1), intercept_lr=0)
    for _ in range(20):
        learn(learner, one, hashes(1), hashes(2))
        learn(learner, other, hashes(2), hashes(1))
        own.learn_one({1: 1.0, 2: -1.0}, y=True)
    assert preferences(one) == pytest.approx(own.weights, rel=1e-5)
    assert preferences(other) == pytest.approx({key: -value for key, value in own.weights.items()}, rel=1e-5)


def test_a_dislike_turns_the_two_round():
    state = a_state()
    learn(Preferences(0.1), state, hashes(1), hashes(2), weight=-1.0)
    assert preferences(state) == pytest.approx({1: -0.05, 2: 0.05})


def test_an_action_moves_the_weights_as_far_as_it_counts():
    viewed, bought = a_state(), a_state()
    learn(Preferences(0.1), viewed, hashes(1), hashes(2), weight=1.0)
    surprise = learn(Preferences(0.1), bought, hashes(1), hashes(2), weight=5.0)
    assert preferences(viewed) == pytest.approx({1: 0.05, 2: -0.05})
    assert preferences(bought) == pytest.approx({1: 0.25, 2: -0.25})
    assert surprise == pytest.approx(0.5)


def test_what_was_learned_halves_every_half_life_of_the_habit():
    learner, state = Preferences(0.1), new_state(HOUR_MS, 2 * HOUR_MS)
    learn(learner, state, hashes(1), hashes(2))
    assert preferences(state, 1_000 + 4 * HOUR_MS) == pytest.approx({1: 0.0125, 2: -0.0125})
    surprise = learn(learner, state, hashes(1), hashes(2), at=1_000 + 2 * HOUR_MS)
    # The two weights of 0.05 and -0.05 are half of that by then: the step goes by sigmoid(-0.05).
    assert surprise == pytest.approx(1 / (1 + math.exp(0.05)))
    assert preferences(state, 1_000 + 2 * HOUR_MS) == pytest.approx(
        {1: 0.025 + 0.1 * surprise, 2: -0.025 - 0.1 * surprise}
    )


def test_weights_outlast_years_of_habits_half_lives():
    learner, state = Preferences(0.1), a_state()
    for hour in range(24 * 365 * 2):
        learn(learner, state, hashes(1), hashes(2), at=hour * HOUR_MS)
    # Where the step makes up for what has faded: w = 0.1 * sigmoid(-w), the pair's difference being 2 w / 2.
    last_at = (24 * 365 * 2 - 1) * HOUR_MS
    [first, other] = preferences(state, last_at).values()
    assert first == pytest.approx(first / 2 + 0.1 / (1 + math.exp(first)), rel=1e-4)
    assert other == pytest.approx(-first)


def test_items_with_the_same_attributes_teach_nothing():
    state = a_state()
    assert learn(Preferences(0.1), state, hashes(1, 2), hashes(2, 1)) == 0.5
    assert preferences(state) == {}


def test_one_learner_serves_all_users_of_a_process():
    assert shared_preferences(0.1) is shared_preferences(0.1)
    assert shared_preferences(0.1) is not shared_preferences(0.2)


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


def test_sums_restored_under_another_half_life_keep_their_value_and_decay_by_the_new_one():
    old = DecayedSums(HOUR_MS)
    old.add((7,), 8.0, 0)
    new = DecayedSums(2 * HOUR_MS)
    new.restore(old.scaled, old.landmark, HOUR_MS, at=HOUR_MS)
    assert new.at(HOUR_MS) == pytest.approx({7: 4.0})
    assert new.at(3 * HOUR_MS) == pytest.approx({7: 2.0})


def test_the_strongest_are_kept_by_absolute_value():
    assert set(strongest({1: -5.0, 2: 0.1, 3: 2.0, 4: 1.0, 5: 0.2}, 4)) == {1, 3, 4}
