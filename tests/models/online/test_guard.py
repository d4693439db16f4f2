import numpy as np
import pytest
from scipy.special import logit

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


def where_both_are_as_good(one: float, other: float) -> float:
    """Return the chance of an act at which two chances have the same expected logarithm."""
    return np.log((1 - one) / (1 - other)) / (logit(other) - logit(one))


def rare_found_better(seed: int, said: float, in_service: float, truth: float, *, knows_variance: bool = True) -> bool:
    """Say whether one chance was ever found better than another, of an act that comes about as rarely as `truth`."""
    rng, guard = np.random.default_rng(seed), Guard(CONFIG)
    even, apart = where_both_are_as_good(said, in_service), logit(said) - logit(in_service)
    variance = even * (1 - even) * apart**2 if knows_variance else 0.0
    for look in range(N_LOOKS):
        acted = rng.random(PER_LOOK) < truth
        gains = [np.where(acted, np.log(one), np.log(1 - one)).tolist() for one in (said, in_service)]
        users = range(look * PER_LOOK, (look + 1) * PER_LOOK)
        guard.add(Judged(*row, float("nan"), variance) for row in zip(users, *gains, strict=True))
        if guard.is_better("learner"):
            return True
        guard.end_look()
    return False


@pytest.mark.parametrize(("said", "in_service"), [(0.0025, 0.005), (0.0005, 0.004), (0.01, 0.004)])
def test_chances_of_what_is_rare_are_not_found_better_by_the_slates_before_the_first_act(
    said: float, in_service: float
):
    truth = where_both_are_as_good(said, in_service)
    n_runs = 60
    assert sum(rare_found_better(seed, said, in_service, truth) for seed in range(n_runs)) <= 1
    if said < in_service:
        naive = sum(rare_found_better(seed, said, in_service, truth, knows_variance=False) for seed in range(n_runs))
        assert naive > 0.9 * n_runs


def test_few_who_act_on_half_of_a_slate_are_no_proof_before_they_have_been_seen():
    """Acts bunch: three of a thousand act on half of their ten items, all others on none."""
    said, in_service, n_items, share = 0.001, 0.002, 10, 0.003
    even, apart = where_both_are_as_good(said, in_service), logit(said) - logit(in_service)
    n_runs, found, hasty = 40, 0, 0
    for seed in range(n_runs):
        rng, guards = np.random.default_rng(seed), (Guard(OnlineConfig()), Guard(OnlineConfig()))
        are_better = [False, False]
        for look in range(32):
            eager = rng.random(256) < share
            n_acts = rng.binomial(n_items, np.where(eager, even / share, 0.0))
            gains = [
                ((n_acts * np.log(one) + (n_items - n_acts) * np.log(1 - one)) / n_items).tolist()
                for one in (said, in_service)
            ]
            users = range(look * 256, (look + 1) * 256)
            variance = even * (1 - even) * apart**2 / n_items
            for which, acted in enumerate(((n_acts > 0).tolist(), [True] * 256)):
                rows = zip(users, *gains, acted, strict=True)
                guards[which].add(Judged(u, a, b, float("nan"), variance, acted=done) for u, a, b, done in rows)
                are_better[which] = are_better[which] or guards[which].is_better("learner")
                guards[which].end_look()
        found, hasty = found + are_better[0], hasty + are_better[1]
    assert found <= 2
    assert hasty > 2


def test_a_better_chance_of_what_is_rare_is_found():
    assert all(rare_found_better(seed, 0.05, 0.25, 0.05) for seed in range(10))
    assert all(rare_found_better(seed, 0.2, 0.05, 0.2) for seed in range(10))


def test_a_version_without_a_predecessor_has_none_that_is_better():
    guard = Guard(CONFIG)
    guard.add(Judged(user, 0.0, -9.0, float("nan")) for user in range(200))
    assert not guard.is_better("previous")
    assert guard.is_better("learner")


def test_nothing_is_decided_between_rankers_that_order_alike():
    guard = Guard(CONFIG)
    guard.add(Judged(user, 1.0, 1.0, float("nan")) for user in range(2_000))
    assert not guard.is_better("learner")
