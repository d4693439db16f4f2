"""What moves the traffic keeps its error rate; each rate is of few runs here, of 2,000 in models/README.md."""

import numpy as np
import pytest

from models.experiments.simulate.runs import SimulatedRun, simulate_scenario
from models.experiments.simulate.scenario import SCENARIOS, Scenario


def run(runs: int, *arguments: object, seed: int = 7, **fields: object) -> list[SimulatedRun]:
    return list(simulate_scenario(Scenario(*arguments, **fields), runs, seed))  # type: ignore[arg-type]


def test_a_bandit_under_a_base_rate_that_moves_calls_equals_equal_where_pooled_users_would_not():
    found = run(40, "drift", users=200_000)
    assert np.mean([one.is_called for one in found]) <= 0.1
    assert np.mean([one.pooled for one in found]) >= 0.4
    assert np.mean([one.moves for one in found]) > 3


@pytest.mark.parametrize("name", ["stop", "mature"])
def test_a_true_winner_is_found_and_never_taken_back(name: str):
    found = run(15, name, users=100_000, lift=0.25)
    assert all(one.is_called and one.is_right for one in found)
    assert not any(one.fell_back for one in found)
    assert all(one.moves == 1 for one in found)


def test_the_lift_is_estimated_without_bias_while_traffic_and_base_rate_move():
    lifts = np.array([one.lift for one in run(30, "drift", users=200_000, lift=0.1)])
    assert lifts.mean() == pytest.approx(0.1, abs=4 * lifts.std() / np.sqrt(30))


def test_a_guardrail_that_is_harmed_holds_a_winner_back_and_one_that_is_not_lets_it_win():
    assert not any(one.is_called for one in run(10, "guardrail", users=200_000, lift=0.2, harm=1.5))
    assert all(one.is_right for one in run(10, "guardrail", users=200_000, lift=0.2))


def test_a_ratio_with_a_past_is_found_sooner_than_without():
    n = 100_000
    with_past, without = (
        [min(one.users_at_decision, n) for one in run(6, "ratio", users=n, looks=20, lift=0.1, cuped=cuped)]
        for cuped in (True, False)
    )
    assert np.mean(with_past) < np.mean(without)


def test_of_four_variants_the_best_wins():
    assert all(one.is_right for one in run(8, "stop", variants=4, users=200_000, lift=0.3))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_seed_repeats_its_runs(name: str):
    assert repr(run(2, name, users=2_000, looks=3)) == repr(run(2, name, users=2_000, looks=3))


@pytest.mark.parametrize(
    "wrong", [{"variants": 1}, {"looks": 0}, {"rate": 0.0}, {"rate": 0.6, "lift": 0.5}, {"alpha": 2}]
)
def test_an_impossible_scenario_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=r"between 0 and 1|look|variants"):
        Scenario("stop", **wrong)  # type: ignore[arg-type]
