from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from models.experiments.assign.assignment import dealt_shares
from models.experiments.assign.declaration import Rules
from models.experiments.judge.sequential import mismatch_p
from models.experiments.judge.verdict import is_mismatch

EQUAL = np.array([0.5, 0.5])


def test_two_variants_by_hand():
    # A uniform prior (concentration 2, halves): the Bayes factor of (3, 0) is B(4, 1) / B(1, 1) / (1/2)^3 = 8 / 4.
    assert mismatch_p(np.array([3.0, 0.0]), EQUAL, concentration=2) == pytest.approx(0.5)


def test_it_is_the_beta_binomial_over_the_binomial():
    counts = np.array([530.0, 420.0])
    log_binomial = 950 * log(0.5)
    log_mixture = betaln(5_000 + 530, 5_000 + 420) - betaln(5_000, 5_000)
    assert comb(950, 530) > 1  # both have it, so it is left out
    assert mismatch_p(counts, EQUAL) == pytest.approx(np.exp(log_binomial - log_mixture))


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=5))
def test_it_is_a_p_value_and_knows_nothing_of_nobody(counts: list[int]):
    shares = np.full(len(counts), 1 / len(counts))
    assert 0 <= mismatch_p(np.array(counts, float), shares) <= 1
    assert mismatch_p(np.zeros(len(counts)), shares) == 1


def test_it_alarms_on_a_broken_split_and_not_on_the_planned_one():
    counts = np.array([[49_000.0, 51_000.0], [49_900.0, 50_100.0], [24_900.0, 75_100.0]])
    assert is_mismatch(counts, EQUAL, Rules()).tolist() == [True, False, True]
    assert is_mismatch(counts, np.array([0.25, 0.75]), Rules()).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("weights", "coverage", "buckets"),
    [((1, 1, 1), 0.001, (4, 3, 3)), ((1, 1, 1), 1.0, (3334, 3333, 3333)), ((99, 1), 1.0, (9900, 100))],
)
def test_users_are_expected_by_the_buckets_that_are_dealt(
    weights: tuple[float, ...], coverage: float, buckets: tuple[int, ...]
):
    """Of three equal variants of a thousandth of the users, 4, 3 and 3 buckets: a mismatch, once users were many."""
    shares = dealt_shares(weights, coverage)
    assert shares == tuple(n / sum(buckets) for n in buckets)
    counts = np.random.default_rng(1).multinomial(50_000, shares, 200).astype(float)
    assert (mismatch_p(counts, np.array(shares)) <= 0.01).mean() <= 0.02


def test_where_no_bucket_is_dealt_the_weights_count():
    assert dealt_shares((3.0, 1.0), 0.0) == (0.75, 0.25)
