import numpy as np
import pytest

from models.metrics import Accuracy, gains, hits, ranks_of, reciprocals

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


def test_a_rank_beyond_k_or_a_miss_earns_nothing() -> None:
    ranks = np.array([1, 2, 3, 4, 0])
    assert hits(ranks, 3).tolist() == [1, 1, 1, 0, 0]
    assert reciprocals(ranks, 3) == pytest.approx([1, 1 / 2, 1 / 3, 0, 0])
    assert gains(ranks, 3) == pytest.approx([1, 1 / np.log2(3), 1 / 2, 0, 0])
