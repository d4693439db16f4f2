import numpy as np
import pytest
import statsmodels.api as sm

from models.experiments.judge import off_policy
from models.experiments.judge.off_policy import (
    bootstrap_error,
    cross_fit,
    direct,
    doubly_robust,
    importance_weights,
    ips,
    snips,
)

N_ACTIONS = 4
SEED = 12


class Log:
    """Rounds of a policy that chooses by context, and of another whose value is known."""

    def __init__(self, n: int, seed: int, sharpness: float = 1.0) -> None:
        rng = np.random.default_rng(seed)
        self.contexts = rng.normal(size=(n, 2))
        tastes = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0]])
        scores = self.contexts @ tastes.T
        self.truth = 1 / (1 + np.exp(1 - scores))  # (N, A) probability of a reward
        logging, target = np.exp(0.5 * scores), np.exp(sharpness * scores[:, ::-1])
        self.logging = logging / logging.sum(axis=1, keepdims=True)
        self.target = target / target.sum(axis=1, keepdims=True)
        self.actions = np.array([rng.choice(N_ACTIONS, p=p) for p in self.logging])
        rows = np.arange(n)
        self.rewards = (rng.random(n) < self.truth[rows, self.actions]).astype(float)
        self.propensities = self.logging[rows, self.actions]
        self.weights = importance_weights(self.target[rows, self.actions], self.propensities)
        self.value = float((self.target * self.truth).sum(axis=1).mean())


def test_ips_and_snips_by_hand():
    weights = importance_weights(np.array([0.5, 0.1, 0.4]), np.array([0.25, 0.5, 0.4]))
    assert weights == pytest.approx([2, 0.2, 1])
    rewards = np.array([1.0, 1.0, 0.0])
    assert ips(rewards, weights).value == pytest.approx(2.2 / 3)
    assert snips(rewards, weights).value == pytest.approx(2.2 / 3.2)
    assert ips(rewards, weights).n_effective == pytest.approx(3.2**2 / 5.04)


def test_a_policys_estimate_from_its_own_log_is_its_mean_reward():
    log = Log(500, 1)
    ones = np.ones(500)
    for found in (ips(log.rewards, ones), snips(log.rewards, ones)):
        assert found.value == pytest.approx(log.rewards.mean())
        assert found.error == pytest.approx(log.rewards.std(ddof=1) / np.sqrt(500))
        assert found.n_effective == pytest.approx(500)


def test_every_estimator_finds_the_known_value_of_another_policy():
    log = Log(6_000, 2)
    assert abs(log.rewards.mean() - log.value) > 0.05  # the log's own mean would mislead
    model = cross_fit(log.contexts, log.actions, log.rewards, N_ACTIONS, SEED)
    predicted = model[np.arange(6_000), log.actions]
    expected = (log.target * model).sum(axis=1)
    estimates = {
        "ips": ips(log.rewards, log.weights),
        "snips": snips(log.rewards, log.weights),
        "dr": doubly_robust(log.rewards, log.weights, predicted, expected),
    }
    for name, found in estimates.items():
        low, high = found.interval(0.01)
        assert low < log.value < high, name
        assert found.error < 0.02, name
    assert estimates["dr"].error < estimates["ips"].error


def test_doubly_robust_survives_a_bad_model_which_the_direct_method_does_not():
    log = Log(6_000, 3)
    zeros = np.zeros(6_000)
    assert direct(zeros, error=0.0).interval() == (0, 0)
    low, high = doubly_robust(log.rewards, log.weights, zeros, zeros).interval(0.01)
    assert low < log.value < high


def test_a_policy_too_far_from_the_log_is_warned_about():
    near, far = Log(400, 4, sharpness=0.1), Log(400, 4, sharpness=6)
    assert snips(near.rewards, near.weights).warning is None
    warning = snips(far.rewards, far.weights).warning
    assert warning is not None
    assert "400 rounds are worth only" in warning


@pytest.mark.parametrize("propensity", [0.0, 1.5, -0.1, np.nan])
def test_an_impossible_propensity_is_refused(propensity: float):
    with pytest.raises(ValueError, match="propensity"):
        importance_weights(np.array([0.5]), np.array([propensity]))


def test_nothing_that_the_other_policy_would_choose_gives_no_value_and_a_warning():
    found = snips(np.array([1.0, 1.0]), np.zeros(2))
    assert (found.value, found.n_effective) == (0, 0)
    assert found.warning is not None


def test_the_reward_model_is_statsmodels_logistic_regression():
    log = Log(1_000, 5)
    features = np.hstack([log.contexts, np.eye(N_ACTIONS)[log.actions][:, 1:]])
    fit = sm.Logit(log.rewards, sm.add_constant(features)).fit(disp=False)
    assert off_policy.fit_logistic(features, log.rewards, penalty=0.0) == pytest.approx(fit.params, abs=1e-3)


def test_no_round_is_predicted_by_a_model_that_has_seen_it():
    log = Log(300, 6)
    first = cross_fit(log.contexts, log.actions, log.rewards, N_ACTIONS, SEED)
    changed = log.rewards.copy()
    changed[17] = 1 - changed[17]
    second = cross_fit(log.contexts, log.actions, changed, N_ACTIONS, SEED)
    assert second[17].tolist() == first[17].tolist()
    assert (second != first).any()


def test_the_bootstrap_error_of_a_mean_is_its_standard_error():
    rewards = Log(2_000, 7).rewards
    found = bootstrap_error(lambda places: float(rewards[places].mean()), 2_000, SEED, n_draws=400)
    assert found == pytest.approx(rewards.std() / np.sqrt(2_000), rel=0.12)


def test_rewards_of_the_places_of_a_slate_add_up_each_normalised_by_itself():
    rewards, weights = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [1.0, 0.5]])
    assert ips(rewards, weights).value == pytest.approx((2 + 0.5) / 2)
    assert snips(rewards, weights).value == pytest.approx(2 / 3 + 0.5 / 1.5)
    assert ips(rewards, weights).n_effective == pytest.approx(4.5**2 / 6.25 / 2)


def test_rounds_of_one_user_are_not_taken_for_independent_ones():
    log = Log(400, 8)
    ones, users = np.ones(2_000), np.tile(np.arange(400), 5)
    alone = ips(log.rewards, np.ones(400)).error
    assert ips(np.tile(log.rewards, 5), ones).error == pytest.approx(alone / np.sqrt(5), rel=0.01)
    for found in (ips(np.tile(log.rewards, 5), ones, users), snips(np.tile(log.rewards, 5), ones, users)):
        assert found.error == pytest.approx(alone)


def test_a_log_of_few_users_is_warned_of_however_many_rounds_it_has():
    """Errors go by users: with one of most rounds, three of ten intervals held what nine and a half should."""
    rng = np.random.default_rng(1)
    users = np.concatenate([np.zeros(5_000, np.int64), np.arange(1, 501)])
    rewards, weights = rng.binomial(1, 0.3, len(users)).astype(float), np.ones(len(users))
    found = ips(rewards, weights, users)
    assert found.n_effective > 5_000
    assert found.n_users < 2
    assert "a few have most of them" in (found.warning or "")
    assert ips(rewards, weights, np.arange(len(users))).warning is None
    assert ips(rewards, weights).warning is None
