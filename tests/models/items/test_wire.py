import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.items import ItemTable
from models.items.links import LinkArrays
from models.items.wire import ContentRow, NeighboursRow, WeighedItems, to_bf16
from models.numeric.ids import hash64
from tests.models.items.builders import NOW, apply, row_of

BF16_ERROR = 2.0**-8
"""Largest relative error of rounding to 8 significant bits."""
weights = st.floats(2.0**-60, 2.0**60, width=32)


@given(arrays(np.float32, 20, elements=st.floats(allow_nan=False, width=32)))
def test_weights_are_rounded_to_the_nearest_bfloat16_as_torch_rounds_them(values: np.ndarray):
    rounded = torch.from_numpy(values).to(torch.bfloat16).to(torch.float32).numpy()
    assert (to_bf16(values) << np.uint32(16)).tolist() == rounded.view(np.uint32).tolist()


def test_a_weight_halfway_between_two_is_rounded_to_the_even_one():
    halfway = np.array([1 + 1 / 256, 1 + 3 / 256], np.float32)
    assert (to_bf16(halfway) << np.uint32(16)).view(np.float32).tolist() == [1.0, 1 + 4 / 256]


def weighed(pairs: list[tuple[float, float]], kind: str) -> WeighedItems:
    rules, covisits = np.array(pairs, np.float32).reshape(-1, 2).T
    return WeighedItems(np.array([hash64(f"{kind}-{n}") for n in range(len(pairs))], np.int64), rules, covisits)


def assert_held(table: ItemTable, links: LinkArrays, row: int, expected: WeighedItems) -> None:
    run = links.of(row)
    n = min(len(expected.items), table.n_neighbours)
    assert table.hashes[links.others[run]].tolist() == expected.items[:n].tolist()
    np.testing.assert_allclose(links.rules[run], expected.rule_weights[:n], rtol=BF16_ERROR)
    np.testing.assert_allclose(links.rule_totals[row], links.rules[run].sum(dtype=np.float64))
    np.testing.assert_allclose(links.covisits[run], expected.covisit_weights[:n], rtol=BF16_ERROR)


some_pairs = st.lists(st.tuples(weights, weights), max_size=7)


@given(st.lists(st.tuples(some_pairs, some_pairs), min_size=1, max_size=4), st.tuples(weights, weights))
def test_what_is_packed_is_what_a_table_holds_of_as_many_neighbours_as_it_keeps(
    versions: list[tuple[list[tuple[float, float]], list[tuple[float, float]]]], popularity: tuple[float, float]
):
    table = ItemTable(NOW, capacity=1, n_neighbours=5)
    for version, (pairs, others) in enumerate(versions, start=1):
        neighbours, habits = weighed(pairs, "neighbour"), weighed(others, "habit")
        packed = NeighboursRow("a", version, NOW, NOW - 5, popularity, neighbours, habits).pack()
        assert len(packed) % 8 == 0
        apply(table, "a", packed)
        row = row_of(table, "a")
        assert_held(table, table.links.arrays, row, neighbours)
        assert_held(table, table.habits.arrays, row, habits)
    assert table.popularity[row].tolist() == list(popularity)
    assert table.created_at[row] == NOW - 5


@given(arrays(np.int8, 64))
def test_a_vector_arrives_as_it_was_packed_and_leaves_with_a_tombstone(vector: np.ndarray):
    table = ItemTable(NOW)
    apply(table, "a", ContentRow("a", 1, vector).pack(), "content")
    assert table.vectors[row_of(table, "a")].tolist() == vector.tolist()
    apply(table, "a", None, "content")
    assert not table.vectors.any()
