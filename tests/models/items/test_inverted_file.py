"""An inverted file holds every item that has a vector once, near what is like it."""

import numpy as np
import pytest

from models.items.inverted_file import InvertedFile, invert
from models.numeric.arrays import Floats


def some_vectors(n: int = 4_000, n_dimensions: int = 16) -> Floats:
    """Make vectors about two hundred centres, every tenth of them unknown."""
    rng = np.random.default_rng(3)
    about = rng.normal(0, 1, (200, n_dimensions))
    vectors = (about[rng.integers(0, 200, n)] + rng.normal(0, 0.3, (n, n_dimensions))).astype(np.float32)
    vectors[::10] = 0
    return vectors


def unpacked(lists: InvertedFile) -> Floats:
    """Return the (N, D) vectors as the file holds them, in its order."""
    d = lists.centers.shape[1]
    parts = [
        lists.blocks[d * start : d * end].reshape(d, end - start).T
        for start, end in zip(lists.starts[:-1], lists.starts[1:], strict=True)
    ]
    return np.concatenate(parts) * lists.scales[:, None]


def test_every_item_with_a_vector_is_held_once_and_no_other():
    vectors = some_vectors()
    lists = invert(vectors)
    assert sorted(lists.rows.tolist()) == np.flatnonzero(vectors.any(axis=1)).tolist()
    assert lists.starts[0] == 0
    assert lists.starts[-1] == len(lists.rows)


def test_a_vector_is_held_to_a_half_of_a_127th_of_its_largest_number():
    vectors = some_vectors()
    lists = invert(vectors)
    off = np.abs(unpacked(lists) - vectors[lists.rows]).max(axis=1)
    assert (off <= np.abs(vectors[lists.rows]).max(axis=1) / 127 / 2 * 1.001).all()


def test_each_item_stands_in_the_list_of_its_nearest_centre():
    vectors = some_vectors()
    lists = invert(vectors)
    distances = ((vectors[lists.rows][:, None] - lists.centers[None]) ** 2).sum(axis=2)
    held_in = np.repeat(np.arange(len(lists.centers)), np.diff(lists.starts))
    assert np.allclose(distances[np.arange(len(held_in)), held_in], distances.min(axis=1), atol=1e-4)


def test_centres_lie_where_vectors_are():
    vectors = some_vectors()
    lists = invert(vectors)
    held_in = np.repeat(np.arange(len(lists.centers)), np.diff(lists.starts))
    within = ((vectors[lists.rows] - lists.centers[held_in]) ** 2).sum(axis=1).mean()
    assert within < 0.35 * vectors[lists.rows].var(axis=0).sum()


def test_the_same_vectors_make_the_same_file():
    for first, second in zip(invert(some_vectors()), invert(some_vectors()), strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("vectors", [np.zeros((50, 8), np.float32), np.zeros((0, 8), np.float32)])
def test_where_nothing_is_known_nothing_is_held(vectors: Floats):
    lists = invert(vectors)
    assert (len(lists.rows), len(lists.centers), len(lists.blocks)) == (0, 0, 0)
    assert lists.starts.tolist() == [0]
