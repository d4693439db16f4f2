import numpy as np

from models.items.postings import Postings

ATTRIBUTE = 7
N = 40
HASHES = np.arange(1, N + 1)
DATES = np.arange(N) + 1_000


def popularity(**changes: float) -> np.ndarray:
    values = np.ones((N, 2), np.float32)
    for name, value in changes.items():
        values[int(name[1:]), 1] = value
    return values


def held(lists: np.ndarray) -> list[int]:
    return sorted(row for row in lists[0].tolist() if row >= 0)


def attributes() -> np.ndarray:
    carried = np.zeros((N, 8), np.uint32)
    carried[:, 0] = ATTRIBUTE
    return carried


def filled(n: int) -> Postings:
    postings = Postings()
    for row in range(n):
        postings.add(row, [ATTRIBUTE], DATES, HASHES, popularity())
    return postings


def test_an_item_that_rises_after_another_was_removed_is_still_posted_once():
    postings = filled(4)
    postings.remove(0, [ATTRIBUTE])
    postings.raise_popular(np.array([3], np.int32), attributes(), popularity(r3=9.0), HASHES)
    assert held(postings.popular) == [1, 2, 3]


def test_the_place_of_a_removed_item_is_taken_by_the_next_one():
    postings = filled(4)
    postings.remove(0, [ATTRIBUTE])
    postings.add(9, [ATTRIBUTE], DATES, HASHES, popularity())
    assert held(postings.popular) == held(postings.newest) == [1, 2, 3, 9]
    assert postings.n_items[0] == 4


def test_a_full_list_drops_the_least_popular_and_the_oldest():
    postings = filled(32)
    postings.add(35, [ATTRIBUTE], DATES, HASHES, popularity(r0=0.5, r35=0.7))
    assert held(postings.popular) == [*range(1, 32), 35]
    assert held(postings.newest) == [*range(1, 32), 35]
