import numpy as np

from models.counts.cells import BUCKET, MOST_ROOM, NEIGHBOUR, Cells
from models.numeric.ids import hash64

N_ITEMS = 200
N_NEIGHBOURS = 40


def neighbours() -> np.ndarray:
    held = np.zeros(N_ITEMS * N_NEIGHBOURS, NEIGHBOUR)
    held["item"] = [hash64(f"{number}") for number in range(len(held))]
    held["covisit"] = np.arange(1, len(held) + 1)
    return held


def filled(budget: int) -> Cells:
    cells = Cells(N_ITEMS, budget)
    cells.restore(neighbours(), np.full(N_ITEMS, N_NEIGHBOURS, np.int32))
    return cells


def by_item(held: np.ndarray) -> list[list[tuple[int, float]]]:
    parts = np.split(held, N_ITEMS)
    return [sorted(zip(part["item"].tolist(), part["covisit"].tolist(), strict=True)) for part in parts]


def test_every_neighbour_is_found_again_item_by_item():
    assert by_item(filled(10**6).neighbours(N_ITEMS)) == by_item(neighbours())


def test_laid_out_again_the_items_that_are_kept_have_what_they_had():
    cells = filled(10**6)
    expected = by_item(neighbours())
    cells.keep(np.array([7, 3]), 16)
    assert sum(cells.arrays.rooms) == cells.arrays.used[0]
    assert [sorted(part["item"].tolist()) for part in np.split(cells.neighbours(2), 2)] == [
        [item for item, _ in expected[row]] for row in (7, 3)
    ]


def test_beyond_the_budget_no_item_gets_more_than_a_bucket():
    budget = 1_000
    cells = filled(budget)
    assert cells.most_room == BUCKET
    # What had grown before the array was laid out for the first time beyond the budget stays.
    assert cells.arrays.rooms.sum() <= budget + MOST_ROOM + N_ITEMS * BUCKET
    assert cells.arrays.sizes.min() == BUCKET


def test_neighbours_chosen_to_share_a_bucket_take_no_more_than_a_few():
    cells = Cells(1, 10**6)
    held = np.zeros(1_000, NEIGHBOUR)
    held["item"] = 1 + np.arange(1_000) * MOST_ROOM
    held["covisit"] = 1
    cells.restore(held, np.array([1_000], np.int32))
    assert cells.arrays.rooms[0] <= BUCKET * 8
