from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.candidates.selection import select_top

SCORES = st.one_of(st.integers(-2, 2).map(float), st.floats(-(2.0**99), 2.0**99, width=32).map(lambda x: x + 0.0))


def top(scores: list[float], limit: int, hashes: list[int] | None = None) -> list[int]:
    n = len(scores)
    rows: Any = np.arange(n, dtype=np.int32)
    names = np.array(hashes if hashes is not None else range(n), np.int64)
    kept = select_top(rows, np.array(scores, np.float32), n, limit, names)
    return [int(row) for row in rows[:kept]]


def test_the_best_come_first_and_a_tie_goes_to_the_lower_hash():
    assert top([1.0, 3.0, 2.0, 3.0], 3, hashes=[5, 9, 1, 4]) == [3, 1, 2]


def test_fewer_entries_than_asked_for_are_all_kept():
    assert top([1.0, 2.0], 10) == [1, 0]
    assert top([], 10) == []


@given(st.lists(SCORES, max_size=300), st.integers(0, 120), st.randoms(use_true_random=False))
def test_the_selection_is_the_head_of_a_sort(scores: list[float], limit: int, rng: Any):
    hashes = rng.sample(range(1, 2**62), len(scores))
    expected = sorted(range(len(scores)), key=lambda row: (-np.float32(scores[row]), hashes[row]))
    assert top(scores, limit, hashes) == expected[:limit]


def test_a_long_run_of_ties_is_sorted_by_hash_too():
    hashes = [int(name) for name in np.random.default_rng(0).permutation(2**40 + np.arange(900))]
    assert top([1.0] * 900, 700, hashes) == sorted(range(900), key=hashes.__getitem__)[:700]
