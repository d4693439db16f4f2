"""On Open Bandit Data (Saito, Aihara, Matsutani and Narita 2021), as it comes with the package obp.

`pip install --no-deps obp==0.4.1`, into the environment or into a folder on PYTHONPATH; without it these tests are left
out. The figures beside which ours stand are those of OBP's own quickstart: random to Bernoulli TS, campaign "all".
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

pd = pytest.importorskip("pandas")

from models.experiments.judge.off_policy import (  # noqa: E402
    Value,
    bootstrap_error,
    cross_fit,
    direct,
    doubly_robust,
    importance_weights,
    ips,
    snips,
)

FOUND = find_spec("obp")
pytestmark = pytest.mark.skipif(FOUND is None, reason="obp is not installed")
SEED = 12345
N_ACTIONS, N_POSITIONS, N_DRAWS = 80, 3, 100_000
ON_POLICY = 0.0042


def folder() -> Path:
    assert FOUND is not None
    assert FOUND.origin is not None
    return Path(FOUND.origin).parent


def bernoulli_ts() -> np.ndarray:
    """(A, P) how probable each action is at each position, by OBP's draws from the priors that it ships."""
    prior = yaml.safe_load((folder() / "policy/conf/prior_bts.yaml").read_text())["all"]
    draws = np.random.RandomState(SEED).beta(prior["alpha"], prior["beta"], (N_DRAWS, N_ACTIONS))
    top = draws.argsort(axis=1)[:, ::-1][:, :N_POSITIONS]
    return np.stack([np.bincount(top[:, p], minlength=N_ACTIONS) for p in range(N_POSITIONS)], axis=1) / N_DRAWS


@pytest.fixture(scope="module")
def estimates() -> dict[str, Value]:
    log = pd.read_csv(folder() / "dataset/obd/random/all/all.csv", index_col=0).sort_values("timestamp")
    actions, rewards = log["item_id"].to_numpy(), log["click"].to_numpy(float)
    positions = log["position"].to_numpy() - 1
    target = bernoulli_ts()[:, positions].T  # (N, A)
    rows = np.arange(len(log))
    weights = importance_weights(target[rows, actions], log["propensity_score"].to_numpy())
    users = pd.get_dummies(log.filter(like="user_feature"), drop_first=True).to_numpy(float)
    contexts = np.hstack([users, np.eye(N_POSITIONS)[positions]])

    def model_of(places: np.ndarray) -> np.ndarray:
        return cross_fit(contexts[places], actions[places], rewards[places], N_ACTIONS, SEED)

    def value_of(places: np.ndarray) -> float:
        return float((target[places] * model_of(places)).sum(axis=1).mean())

    model = model_of(rows)
    expected = (target * model).sum(axis=1)
    return {
        "ips": ips(rewards, weights),
        "snips": snips(rewards, weights),
        "dm": direct(expected, bootstrap_error(value_of, len(log), SEED, n_draws=20)),
        "dr": doubly_robust(rewards, weights, model[rows, actions], expected),
    }


def test_ips_is_obps_to_three_digits(estimates: dict[str, Value]):
    assert f"{estimates['ips'].value:.5f}" == "0.00455"


@pytest.mark.parametrize("name", ["ips", "snips", "dm", "dr"])
def test_what_bernoulli_ts_really_earned_lies_in_the_interval(estimates: dict[str, Value], name: str):
    low, high = estimates[name].interval()
    assert low < ON_POLICY < high
