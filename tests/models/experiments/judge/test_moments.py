import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from models.experiments.assign.declaration import Rules
from models.experiments.judge.moments import estimate, gram
from models.experiments.judge.sequential import fixed_p, z_score
from models.experiments.judge.verdict import compare
from tests.models.experiments.builders import estimates, sums_of, values_of


def some_users(n: int, seed: int, effect: float = 0.0) -> np.ndarray:
    """Clicks and impressions during and before, of users who differ in how much they click."""
    rng = np.random.default_rng(seed)
    rate = rng.beta(2, 10, n)
    shown, shown_before = rng.poisson(9, n) + 1, rng.poisson(9, n) + 1
    return values_of(rng.binomial(shown, rate * (1 + effect)), shown, rng.binomial(shown_before, rate), shown_before)


def test_a_mean_and_its_variance_by_hand():
    [found] = estimates(values_of(np.array([1.0, 2.0, 3.0, 6.0])))
    # The mean is 3, the squares of the deviations sum to 4 + 1 + 0 + 9 = 14, over 3 and over 4 users.
    assert (found.n, found.mean) == (4, 3)
    assert found.variance == pytest.approx(14 / 3 / 4)


def test_a_ratio_and_its_variance_by_hand():
    [found] = estimates(values_of(np.array([1.0, 3.0]), np.array([2.0, 6.0])))
    assert found.mean == pytest.approx(0.5)
    assert found.variance == pytest.approx(0)  # both users' own ratios are 1/2
    [found] = estimates(values_of(np.array([2.0, 2.0]), np.array([2.0, 6.0])))
    # Linear forms (y - d/2) / 4 are 0.25 and -0.25: variance 0.125 of a user, 0.0625 of the mean.
    assert found.variance == pytest.approx(0.0625)


def test_means_are_compared_as_statsmodels_compares_them():
    rng = np.random.default_rng(1)
    control, treatment = rng.exponential(1.0, 500), rng.exponential(1.2, 400)
    [first], [second] = estimates(values_of(control)), estimates(values_of(treatment))  # each by its own variance
    z, p = CompareMeans(DescrStatsW(treatment), DescrStatsW(control)).ztest_ind(usevar="unequal")
    assert z_score(second, first) == pytest.approx(z)
    assert fixed_p(second, first) == pytest.approx(p)


def test_a_ratios_error_is_that_of_a_regression_on_impressions_clustered_by_user():
    users = some_users(300, seed=2)
    users[:, 2:] = 0
    [found] = estimates(users)
    shown = users[:, 1].astype(int)
    clicked = np.concatenate([np.arange(n) < k for k, n in zip(users[:, 0], shown, strict=True)]).astype(float)
    fit = sm.OLS(clicked, np.ones_like(clicked)).fit(
        cov_type="cluster", cov_kwds={"groups": np.repeat(np.arange(300), shown), "use_correction": False}
    )
    assert found.mean == pytest.approx(fit.params[0])
    assert np.sqrt(found.variance * 299 / 300) == pytest.approx(fit.bse[0])


def test_cuped_gives_the_effect_and_error_of_a_regression_on_what_was_before():
    rng = np.random.default_rng(3)
    before = rng.normal(10, 3, 4_000)
    treated = rng.permutation(np.arange(4_000) % 2).astype(bool)
    after = before + rng.normal(0, 1, 4_000) + 0.2 * treated
    control, treatment = estimates(*(values_of(after[arm], 1.0, before[arm], 1.0) for arm in (~treated, treated)))
    fit = sm.OLS(after, sm.add_constant(np.column_stack([treated, before - before.mean()]))).fit(cov_type="HC1")
    assert treatment.mean - control.mean == pytest.approx(fit.params[1], abs=2e-3)
    assert np.sqrt(treatment.variance + control.variance) == pytest.approx(fit.bse[1], rel=0.01)


def test_cuped_narrows_a_ratio_and_leaves_its_effect():
    control, treatment = some_users(4_000, 4), some_users(4_000, 5, effect=0.3)
    plain = [arm * [1, 1, 0, 0] for arm in (control, treatment)]
    (bare_c, bare_t), (first, second) = estimates(*plain), estimates(control, treatment)
    assert first.variance + second.variance < 0.8 * (bare_c.variance + bare_t.variance)
    assert second.mean - first.mean == pytest.approx(bare_t.mean - bare_c.mean, abs=0.01)


@given(st.lists(st.tuples(*[st.integers(0, 50)] * 4), min_size=2, max_size=30), st.integers(1, 29))
def test_sums_may_be_merged_and_corrected_in_any_order(rows: list[tuple[int, ...]], cut: int):
    users = np.array(rows, float)
    whole = sums_of(users)
    np.testing.assert_allclose(sums_of(users[:cut]) + sums_of(users[cut:]), whole)
    wrong = users.copy()
    wrong[0] += 7
    np.testing.assert_allclose(sums_of(wrong) - sums_of(wrong[:1]) + sums_of(users[:1]), whole)


def test_arms_of_no_user_or_one_know_nothing():
    nobody = np.zeros((2, 5, 5))
    for sums in (nobody, sums_of(np.array([[1.0, 1.0, 0.0, 0.0]]))):
        found = estimate(sums, sums)
        assert found.variance == np.inf
        assert np.isfinite(found.mean)


def test_users_who_are_all_alike_have_no_variance_left_from_rounding():
    [found] = estimates(values_of(np.full(1_000, 1 / np.log2(3))))
    assert found.variance == 0


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.99, 0.998])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_equal_arms_are_seldom_called_different_however_rare_the_goal_and_small_an_arm(rate: float, share: float):
    """Without what all arms have in common, an arm of which nobody had converted was called harmful in 90%."""
    rng, looks, runs = np.random.default_rng(1), 50, 200
    treated = rng.binomial(1_000, share, (runs, looks))
    users = np.stack([treated, 1_000 - treated])  # (arms, runs, looks)
    converted = rng.binomial(users, rate).cumsum(axis=2)
    left = users.cumsum(axis=2) - converted
    who = gram(values_of(np.array([0.0, 1.0])))
    sums = left[..., None, None] * who[0] + converted[..., None, None] * who[1]
    arms = np.stack([sums, sums], axis=3)
    treatment, control = (estimate(arm, arms.sum(axis=0)) for arm in arms)
    found = compare(treatment, control, np.array(False), Rules()).verdict
    assert np.isin(found, ("winner", "harmful")).any(axis=1).mean() <= 0.05


def test_what_all_arms_have_in_common_is_not_what_a_starved_arm_knows():
    """A bandit's starved arm holds nearly all of the squared weights, so an arm without a conversion called others."""
    rng = np.random.default_rng(2)
    favoured, starved = values_of(rng.binomial(1, 0.05, 9_000).astype(float)), values_of(np.zeros(1_000))
    sums = sums_of(favoured, 0.2), sums_of(starved, 1.8)
    found = estimate(sums[1], sums[0] + sums[1])
    assert found.n == pytest.approx(1_000)
    assert found.variance * 1_000 == pytest.approx(0.025 * 0.975, rel=0.05)  # of 2.5% in all, by the weights


def test_one_user_who_sees_most_of_what_is_shown_decides_no_ratio():
    rng = np.random.default_rng(3)
    shown = rng.poisson(9, 2_000) + 1.0
    crowd = [values_of(rng.binomial(shown.astype(int), 0.1), shown) for _ in range(2)]
    control, treatment = estimates(*crowd)
    assert treatment.n > 1_500
    crowd[1][0] = [9_500, 10_000, 0, 0]
    control, treatment = estimates(*crowd)
    assert treatment.n < 10
    assert compare(treatment, control, np.array(False), Rules()).verdict == "running"


def test_a_value_shown_by_itself_bears_the_error_of_the_past_that_was_taken_from_it():
    rng = np.random.default_rng(4)
    means, errors = [], []
    for _ in range(400):
        base = rng.gamma(1, 10, 400)
        users = values_of(rng.poisson(base), 1.0, rng.poisson(base), 1.0)
        first, _ = estimates(users[::2], users[1::2])
        means.append(float(first.mean))
        errors.append(float(np.sqrt(first.own_variance)))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
