import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from models.experiments.judge.moments import estimate
from models.experiments.judge.sequential import fixed_p, z_score
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
    first, second = estimates(values_of(control), values_of(treatment))
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
