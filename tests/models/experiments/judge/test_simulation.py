import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import proportion_effectsize

from models.experiments.assign.declaration import Rules
from models.experiments.judge.moments import estimate, gram
from models.experiments.judge.simulation import Plan, SimulatedRuns, simulate
from models.experiments.judge.verdict import compare

N = 400


def run(plan: Plan, runs: int = N, seed: int = 7) -> SimulatedRuns:
    parts = list(simulate(plan, Rules(), runs, seed))
    return SimulatedRuns(*(np.concatenate([getattr(part, name) for part in parts]) for name in SimulatedRuns.__slots__))


def test_equal_variants_are_seldom_told_apart_however_often_one_looks():
    found = run(Plan())
    assert np.isfinite(found.users_at_verdict).mean() <= 0.05
    assert found.naive.mean() > 0.3


def test_a_tenth_more_conversions_is_found_mostly_before_all_users_have_come():
    found = run(Plan(lift=0.1))
    assert np.isfinite(found.users_at_verdict).mean() >= 0.8
    assert np.median(found.users_at_verdict) < 150_000


def test_one_look_has_the_power_that_statsmodels_computes():
    plan = Plan(users=40_000, looks=1, lift=0.1)
    effect = proportion_effectsize(plan.rate * (1 + plan.lift), plan.rate)
    power = NormalIndPower().power(effect, plan.users / 2, 0.05)
    # 1,600 runs: a standard error of 0.0125.
    assert run(plan, 1_600).naive.mean() == pytest.approx(power, abs=0.04)


def test_the_alarm_rings_for_a_wrong_split_and_not_for_the_planned_one():
    assert (run(Plan(split=0.49)).users_at_mismatch <= 100_000).mean() >= 0.95
    assert np.isfinite(run(Plan()).users_at_mismatch).mean() <= 0.01


def test_a_seed_repeats_its_runs_and_a_number_of_runs_is_met():
    first, second = run(Plan(looks=5), 70), run(Plan(looks=5), 70)
    assert len(first.naive) == 70
    assert first.users_at_verdict.tolist() == second.users_at_verdict.tolist()


@pytest.mark.parametrize(
    "wrong", [{"looks": 0}, {"users": 10, "looks": 20}, {"rate": 0.0}, {"rate": 0.9, "lift": 0.5}, {"split": 1.0}]
)
def test_an_impossible_plan_is_refused(wrong: dict[str, float]):
    with pytest.raises(ValueError, match=r"between 0 and 1|looks"):
        Plan(**wrong)  # type: ignore[arg-type]


def test_equal_variants_are_seldom_told_apart_by_a_ratio_with_a_past():
    # Clicks of impressions, of users who click and look in their own measure, 20 looks at 2,000 users, 300 times.
    rng, looks, called = np.random.default_rng(9), np.linspace(200, 2_000, 20).astype(int) - 1, 0
    for _ in range(300):
        rate, shown = rng.beta(1, 9, 2_000), rng.geometric(0.1, (2, 2_000))
        clicks = rng.binomial(shown, rate)
        sums = gram(np.stack([clicks[0], shown[0], clicks[1], shown[1]], axis=-1).astype(float))
        arm = rng.integers(0, 2, 2_000)
        by_arm = [(sums * (arm == side)[:, None, None]).cumsum(axis=0)[looks] for side in (0, 1)]
        by_arm = [np.stack([side, side], axis=1) for side in by_arm]  # everybody counts for 1
        control, treatment = (estimate(side, by_arm[0] + by_arm[1]) for side in by_arm)
        verdicts = compare(treatment, control, np.array(False), Rules(min_users=50)).verdict
        called += bool(np.isin(verdicts, ("winner", "harmful")).any())
    assert called / 300 <= 0.05
