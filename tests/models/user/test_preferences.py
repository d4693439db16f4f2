import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import linear_model, optim
from river.utils import VectorDict

from models.numeric.arrays import Hash32s
from models.numeric.decay import DecayedSums, strongest
from models.strategy import Strategy
from models.user import preferences as learner
from models.user.query import Query
from models.user.record import States, new_state
from tests.states import evidence_of

HOUR_MS = 3_600_000


def hashes(*attributes: int) -> Hash32s:
    return np.array(attributes, np.uint32)


def learn(state: States, positive: Hash32s, negative: Hash32s, weight: float = 1.0, at: int = 1_000) -> float:
    return learner.learn(state, 9, at, weight, 0.0, positive, negative, 0.1)


def a_state() -> States:
    return new_state(HOUR_MS, HOUR_MS)


def preferences(state: States, at: int = 1_000) -> dict[int, float]:
    return evidence_of(Query("ann", "request", "r", at, Strategy(), state.tobytes())).preferences


def test_learning_moves_the_users_own_weights():
    state = a_state()
    surprise = learn(state, hashes(1, 2), hashes(2, 3))
    # sigmoid(0) = 0.5, so the gradient step is 0.1 * 0.5; attribute 2 is on both sides and says nothing.
    assert preferences(state) == pytest.approx({1: 0.05, 3: -0.05})
    assert surprise == pytest.approx(0.5)


def rivers_own() -> Any:
    return linear_model.LogisticRegression(optim.SGD(0.1), intercept_lr=0)


def test_the_surprise_is_the_probability_that_river_gave_to_the_opposite_before_the_step():
    state, river = a_state(), rivers_own()
    for _ in range(30):
        expected = river.predict_proba_one({1: 1.0, 2: -1.0})[False]
        assert learn(state, hashes(1), hashes(2)) == pytest.approx(expected, rel=1e-5)
        river.learn_one({1: 1.0, 2: -1.0}, y=True)


ACT = st.tuples(
    st.lists(st.integers(1, 9), max_size=4, unique=True),
    st.lists(st.integers(1, 9), max_size=4, unique=True),
    st.sampled_from([1.0, 5.0, 0.3, -1.0, 200.0]),
)


@given(st.lists(ACT, min_size=1, max_size=20))
def test_a_step_is_that_of_rivers_logistic_regression_bit_for_bit(acts: list[tuple[list[int], list[int], float]]):
    state, river = a_state(), rivers_own()
    for liked, other, weight in acts:
        learn(state, hashes(*liked), hashes(*other), weight, at=0)
        better, worse = (liked, other) if weight > 0 else (other, liked)
        signs = {a: 1.0 for a in better if a not in worse} | {a: -1.0 for a in worse if a not in better}
        if signs and liked:
            river.learn_one(signs, y=True, w=abs(weight))
        # As the record does between two acts, in single precision; at its landmark, so that no decay rounds.
        river._weights = VectorDict({a: float(np.float32(w)) for a, w in river.weights.items()})
    expected = {attribute: weight for attribute, weight in river.weights.items() if weight}
    assert preferences(state, 0) == expected


def test_what_one_user_teaches_moves_no_other():
    one, other = a_state(), a_state()
    for _ in range(20):
        learn(one, hashes(1), hashes(2))
        learn(other, hashes(2), hashes(1))
    assert preferences(one) == {key: -weight for key, weight in preferences(other).items()}


def test_a_dislike_turns_the_two_round():
    state = a_state()
    learn(state, hashes(1), hashes(2), weight=-1.0)
    assert preferences(state) == pytest.approx({1: -0.05, 2: 0.05})


def test_an_action_moves_the_weights_as_far_as_it_counts():
    viewed, bought = a_state(), a_state()
    learn(viewed, hashes(1), hashes(2), weight=1.0)
    surprise = learn(bought, hashes(1), hashes(2), weight=5.0)
    assert preferences(viewed) == pytest.approx({1: 0.05, 2: -0.05})
    assert preferences(bought) == pytest.approx({1: 0.25, 2: -0.25})
    assert surprise == pytest.approx(0.5)


def test_what_was_learned_halves_every_half_life_of_the_habit():
    state = new_state(HOUR_MS, 2 * HOUR_MS)
    learn(state, hashes(1), hashes(2))
    assert preferences(state, 1_000 + 4 * HOUR_MS) == pytest.approx({1: 0.0125, 2: -0.0125})
    surprise = learn(state, hashes(1), hashes(2), at=1_000 + 2 * HOUR_MS)
    # The two weights of 0.05 and -0.05 are half of that by then: the step goes by sigmoid(-0.05).
    assert surprise == pytest.approx(1 / (1 + math.exp(0.05)))
    assert preferences(state, 1_000 + 2 * HOUR_MS) == pytest.approx(
        {1: 0.025 + 0.1 * surprise, 2: -0.025 - 0.1 * surprise}
    )


def test_weights_outlast_years_of_habits_half_lives():
    state = a_state()
    for hour in range(24 * 365 * 2):
        learn(state, hashes(1), hashes(2), at=hour * HOUR_MS)
    # Where the step makes up for what has faded: w = 0.1 * sigmoid(-w), the pair's difference being 2 w / 2.
    last_at = (24 * 365 * 2 - 1) * HOUR_MS
    [first, other] = preferences(state, last_at).values()
    assert first == pytest.approx(first / 2 + 0.1 / (1 + math.exp(first)), rel=1e-4)
    assert other == pytest.approx(-first)


def test_items_with_the_same_attributes_teach_nothing():
    state = a_state()
    assert learn(state, hashes(1, 2), hashes(2, 1)) == 0.5
    assert preferences(state) == {}


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
