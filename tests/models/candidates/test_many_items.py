"""Next in sequence among more items than are looked at for a query."""

from typing import Any

import numpy as np
import pytest

from models.candidates.next_in_sequence import N_LOOKED_AT, NextInSequence
from models.items import ItemTable, learned
from models.messages import Item
from models.numeric.arrays import Floats, Int32s
from tests.models.builders import NOW, a_batch, a_query, candidates_of

N = 4 * N_LOOKED_AT
D = 16


class Drawn:
    """Gives items vectors about two hundred centres, and users that of their newest item."""

    version = "drawn"
    n_dimensions = D
    n_recent = 5

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        about = rng.normal(0, 1, (200, D))
        self.vectors = (about[rng.integers(0, 200, N)] + rng.normal(0, 0.3, (N, D))).astype(np.float32)

    def item_vectors(self, rows: Int32s, table: Any) -> Floats:
        numbers = [int(table.ids[row]) for row in rows]
        return self.vectors[numbers]

    def logits(self, users: Floats, vectors: Floats) -> Floats:
        return users @ vectors.T

    def user_vectors(self, acts: Any, at: Any, lengths: Any) -> Floats:  # noqa: ARG002 - the protocol's
        return np.asarray(acts[np.arange(len(lengths)), lengths - 1])


QUERIES = [a_query([str(number)], at=NOW) for number in range(0, N, N // 50)]


def a_large_table(available: range = range(N)) -> ItemTable:
    table = ItemTable(NOW, capacity=N)
    table.read_with(Drawn())
    table.apply_items([Item(str(number), available=number in available) for number in range(N)], [])
    return table


def found_in(table: ItemTable, n: int = 50) -> list[list[int]]:
    rows = candidates_of(NextInSequence(), table, a_batch(table, *QUERIES), n).rows
    return [[row for row in found if row >= 0] for found in rows.tolist()]


def test_most_of_the_best_are_found_among_those_that_are_looked_at(monkeypatch: pytest.MonkeyPatch):
    table = a_large_table()
    exact = found_in(table)
    monkeypatch.setattr(learned, "LEAST_INVERTED", N)
    few = found_in(table)
    assert table.learned is not None
    assert table.learned.inverted(table) is not None
    assert few != exact  # so that it is not by all items
    shares = [len(set(some) & set(best)) / len(best) for some, best in zip(few, exact, strict=True)]
    assert np.mean(shares) > 0.9
    assert [some[0] for some in few] == [best[0] for best in exact]


def test_where_few_of_many_may_be_shown_all_of_them_are_found(monkeypatch: pytest.MonkeyPatch):
    shown = range(100, 140)
    exact = found_in(a_large_table(shown))
    monkeypatch.setattr(learned, "LEAST_INVERTED", N)
    assert found_in(a_large_table(shown)) == exact
    assert {len(found) for found in exact} == {40}
