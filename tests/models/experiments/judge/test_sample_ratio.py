from math import comb, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

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
