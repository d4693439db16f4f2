"""Learned vectors follow the table: made once, and again only where something else is known."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from models.items import ItemTable, learned
from models.items.wire import ContentRow
from models.messages import Item
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.ids import hash64


class Noting:
    """Notes for which rows vectors were made; a vector says what was known of its item."""

    version = "made-up"
    n_dimensions = 3
    n_recent = 4

    def __init__(self) -> None:
        self.made: list[list[int]] = []

    def item_vectors(self, rows: Int32s, table: Any) -> Floats:
        self.made.append(rows.tolist())
        columns = (
            table.hashes[rows] % 97,
            (table.attributes[rows] > 0).sum(axis=1),
            np.abs(table.vectors[rows]).sum(axis=1),
        )
        return np.stack(columns, axis=1).astype(np.float32)

    def logits(self, users: Floats, vectors: Floats) -> Floats:
        raise NotImplementedError

    def user_vectors(self, acts: Floats, at: Int64s, lengths: Int64s) -> Floats:
        raise NotImplementedError


def a_table(encoder: Noting) -> ItemTable:
    table = ItemTable(1_700_000_000_000, capacity=2)
    table.read_with(encoder)
    table.apply_items([Item("a", categories=["x"]), Item("b")], [])
    return table


def vectors_of(table: ItemTable) -> dict[str, list[float]]:
    assert table.learned is not None
    return dict(zip(table.ids, table.learned.of(table).tolist(), strict=True))


def test_vectors_are_made_once():
    encoder = Noting()
    table = a_table(encoder)
    assert vectors_of(table) == vectors_of(table)
    assert encoder.made == [[0, 1]]


def test_what_is_known_anew_of_an_item_gives_it_another_vector():
    encoder = Noting()
    table = a_table(encoder)
    vectors_of(table)
    table.apply_items([Item("b", categories=["x", "y"])], [])
    assert vectors_of(table)["b"][1] == 2
    table.apply_rows([b"content/a"], [ContentRow("a", 1, np.full(64, 5, np.int8)).pack()])
    assert vectors_of(table)["a"][2] == 5 * 64
    table.apply_items([], ["b"])
    assert vectors_of(table)["b"][1] == 0
    a, b = table.ids.index("a"), table.ids.index("b")
    assert encoder.made == [[0, 1], [b], [a], [b]]


def test_new_items_get_vectors_as_the_table_grows():
    encoder = Noting()
    table = a_table(encoder)
    vectors_of(table)
    table.apply_items([Item(f"n-{n}") for n in range(50)], [])
    assert len(vectors_of(table)) == table.n == 52
    assert encoder.made[1] == list(range(2, 52))
    assert all(vector[0] == hash64(item_id) % 97 for item_id, vector in vectors_of(table).items())


def test_another_model_serves_once_it_has_vectors_of_all_items():
    old, new = Noting(), Noting()
    table = a_table(old)
    table.apply_items([Item(f"n-{n}") for n in range(8)], [])
    before = vectors_of(table)
    table.read_next_with(new)
    for made in (4, 8):
        table.learn_some(4)
        assert sum(map(len, new.made)) == made
        assert table.learned is not None
        assert table.learned.encoder is old
    table.apply_items([Item("b", categories=["x", "y"])], [])  # meanwhile
    table.learn_some(4)
    assert table.learned is not None
    assert table.learned.encoder is new
    assert vectors_of(table) == before | {"b": [hash64("b") % 97, 2, 0]}
    assert sum(map(len, new.made)) == table.n + 1


def test_what_was_derived_by_the_model_before_is_forgotten():
    table = a_table(Noting())
    assert table.derived("by it", lambda: "old") == "old"
    table.read_next_with(Noting())
    table.learn_some()
    assert table.derived("by it", lambda: "new") == "new"


def test_a_model_that_is_taken_away_takes_the_one_to_come_with_it():
    table = a_table(Noting())
    table.read_next_with(Noting())
    table.read_with(None)
    table.learn_some()
    assert table.learned is None


def test_an_inverted_file_that_cannot_be_made_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch):
    tried: list[int] = []

    def failing(vectors: Floats) -> None:
        tried.append(len(vectors))
        raise MemoryError

    monkeypatch.setattr(learned, "LEAST_INVERTED", 1)
    monkeypatch.setattr(learned, "invert", failing)
    table = ItemTable(1_700_000_000_000, capacity=2, run=suppressed)
    table.read_with(Noting())
    table.apply_items([Item("a")], [])
    assert table.learned is not None
    for _ in range(3):
        table.learned.of(table)
        assert table.learned.inverted(table) is None
    assert tried == [1]


def suppressed(work: Callable[[], None]) -> None:
    """Run as on a thread that dies."""
    with suppress(MemoryError):
        work()
