import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.numeric.metrics import Accuracy, gains, hits, pairwise_auc, ranks_of, reciprocals

SCORES = np.array([[0.1, 0.9, 0.5, 0.7], [0.5, 0.5, 0.2, 9.0], [1.0, 2.0, 3.0, 4.0]], np.float32)
PRESENT = np.array([[True] * 4, [True, True, True, False], [True] * 4])


def test_a_rank_counts_from_one_and_a_missed_label_has_none() -> None:
    assert ranks_of(SCORES, PRESENT, np.array([2, 2, -1])).tolist() == [3, 3, 0]


def test_ties_count_against_the_label() -> None:
    assert ranks_of(SCORES, PRESENT, np.array([1, 0, 0])).tolist() == [1, 2, 4]


def test_rates_are_of_all_that_was_judged() -> None:
    accuracy = Accuracy(k=3)
    accuracy.add(np.array([1, 4, 0]))
    accuracy.add(np.array([2]))
    assert (accuracy.n, accuracy.hits) == (4, 2)
    assert accuracy.hit_rate == 0.5
    assert accuracy.mrr == pytest.approx((1 + 1 / 4 + 0 + 1 / 2) / 4)


def test_nothing_judged_is_no_success() -> None:
    assert (Accuracy().hit_rate, Accuracy().mrr) == (0.0, 0.0)


def test_the_gain_of_a_hit_falls_with_the_logarithm_of_its_rank():
    accuracy = Accuracy(k=3)
    accuracy.add(np.array([1, 3, 4, 0]))
    assert accuracy.ndcg == pytest.approx((1 + 1 / 2) / 4)


def test_pairwise_auc_counts_the_pairs_that_are_in_order():
    scores = np.array([[3.0, 1.0, 2.0, 9.0], [1.0, 1.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]], np.float32)
    labels = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    present = np.array([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]], bool)
    # 2 is above 1 and below 3; 1 ties with 1 and is above two 0s; nothing is positive.
    assert pairwise_auc(scores, labels, present) == pytest.approx([1 / 2, 2.5 / 3, np.nan], nan_ok=True)


@given(st.integers(0, 2**32 - 1))
def test_pairwise_auc_does_not_depend_on_the_scale_of_the_scores(seed: int):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(5, 8)).astype(np.float32), (rng.random((5, 8)) < 0.3).astype(np.float32)
    present = rng.random((5, 8)) < 0.9
    same = pairwise_auc(np.float32(4) * scores + np.float32(0), labels, present)
    assert np.array_equal(pairwise_auc(scores, labels, present), same, equal_nan=True)


def test_a_rank_beyond_k_or_a_miss_earns_nothing() -> None:
    ranks = np.array([1, 2, 3, 4, 0])
    assert hits(ranks, 3).tolist() == [1, 1, 1, 0, 0]
    assert reciprocals(ranks, 3) == pytest.approx([1, 1 / 2, 1 / 3, 0, 0])
    assert gains(ranks, 3) == pytest.approx([1, 1 / np.log2(3), 1 / 2, 0, 0])
