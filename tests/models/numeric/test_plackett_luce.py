from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.numeric.plackett_luce import place_probabilities


def enumerated(logits: np.ndarray, categories: np.ndarray, cap: int, n: int) -> dict[tuple[int, int], float]:
    """Draw place by place, every way there is: the probability of each item at each place."""
    found: defaultdict[tuple[int, int], float] = defaultdict(float)

    def draw(chosen: list[int], chance: float) -> None:
        if len(chosen) == n:
            return
        held = [categories[c] for c in chosen]
        free = [
            c for c in range(len(logits)) if c not in chosen and (not categories[c] or held.count(categories[c]) < cap)
        ]
        total = sum(np.exp(logits[c]) for c in free)
        for c in free:
            share = chance * np.exp(logits[c]) / total
            found[c, len(chosen)] += share
            draw([*chosen, c], share)

    draw([], 1.0)
    return found


def computed(logits: np.ndarray, categories: np.ndarray, cap: int, item: int, n: int) -> list[float]:
    probabilities = np.empty(n)
    place_probabilities(logits.astype(np.float32), categories.astype(np.uint32), cap, item, probabilities)
    return probabilities.tolist()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cap=st.integers(1, 3), n=st.integers(1, 4))
def test_place_probabilities_are_those_of_all_ways_to_draw_under_caps(seed: int, cap: int, n: int):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=6).astype(np.float32) * rng.choice([0.5, 2.0])
    categories = rng.integers(0, 4, 6)
    expected = enumerated(logits.astype(float), categories, cap, n)
    for item in range(6):
        found = computed(logits, categories, cap, item, n)
        assert found == pytest.approx([expected[item, place] for place in range(n)], abs=1e-7)


def test_the_probabilities_of_a_place_add_up_to_one_among_a_hundred_candidates():
    rng = np.random.default_rng(3)
    logits, categories = rng.normal(size=100) * 1.5, rng.integers(0, 30, 100)
    by_item = np.array([computed(logits, categories, 2, item, 10) for item in range(100)])
    assert by_item.sum(axis=0) == pytest.approx(np.ones(10), abs=1e-7)
    assert by_item[:, 0] == pytest.approx(np.exp(logits) / np.exp(logits).sum(), rel=1e-5)


def test_logits_far_apart_are_no_trouble():
    found = [computed(np.array([900.0, 0.0, -900.0]), np.zeros(3), 1, item, 3) for item in range(3)]
    assert np.array(found) == pytest.approx(np.eye(3), abs=1e-7)
