import numpy as np
import pytest

from models.config import OnlineConfig
from models.online.guard import Guard, Judged

CONFIG = OnlineConfig(guard_slates=256)
N_LOOKS, PER_LOOK = 50, 32


def found_better(seed: int, n_users: int, leaning: float = 0.0, better_by: float = 0.0) -> bool:
    """Say whether a ranker was ever found better; `leaning` is how much a user's slates resemble each other."""
    rng = np.random.default_rng(seed)
    guard, leanings = Guard(CONFIG), rng.normal(0, leaning, n_users)
    for _ in range(N_LOOKS):
        users = rng.integers(0, n_users, PER_LOOK)
        clicked = rng.random(PER_LOOK) < 0.4
        gains = np.where(clicked, rng.choice([1.0, 5.0], PER_LOOK) * rng.normal(0, 0.3, PER_LOOK) + leanings[users], 0)
        gains += better_by * clicked
        guard.add(
            Judged(user, gain, 0.0, float("nan")) for user, gain in zip(users.tolist(), gains.tolist(), strict=True)
        )
        if guard.is_better("learner"):
            return True
        guard.end_look()
    return False


@pytest.mark.parametrize(("n_users", "leaning"), [(1_000, 0.0), (60, 0.5)])
def test_equal_rankers_are_seldom_told_apart_however_often_they_are_looked_at(n_users: int, leaning: float):
    n_runs = 20
    assert sum(found_better(seed, n_users, leaning) for seed in range(n_runs)) <= 1


def test_slates_that_were_taken_for_independent_would_tell_equal_rankers_apart():
    """The same sums with each slate a user of its own: what clustering is for."""
    wrong = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        guard, leanings = Guard(CONFIG), rng.normal(0, 0.5, 8)
        gains = leanings[rng.integers(0, 8, 250)]
        guard.add(Judged(number, gain, 0.0, float("nan")) for number, gain in enumerate(gains.tolist()))
        wrong += guard.is_better("learner")
    assert wrong > 3


def test_a_better_ranker_is_found():
    assert all(found_better(seed, 1_000, better_by=0.5) for seed in range(10))


def test_a_version_without_a_predecessor_has_none_that_is_better():
    guard = Guard(CONFIG)
    guard.add(Judged(user, 0.0, -9.0, float("nan")) for user in range(200))
    assert not guard.is_better("previous")
    assert guard.is_better("learner")


def test_nothing_is_decided_between_rankers_that_order_alike():
    guard = Guard(CONFIG)
    guard.add(Judged(user, 1.0, 1.0, float("nan")) for user in range(2_000))
    assert not guard.is_better("learner")
