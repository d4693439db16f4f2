"""The item table's arrays, one a column, which grow together."""

from typing import Any

import numpy as np

from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.hashmap import index, insert, look_up, look_up_one

N_ATTRIBUTES = 8
N_DIMENSIONS = 64


class Columns:
    """Struct of arrays over dense rows; (N, ...) with N the capacity, of which `n` rows are in use.

    Parameters
    ----------
    capacity : rows to begin with; doubled when they are used up.
    n_neighbours : K, neighbours kept of an item.
    """

    hashes: Int64s
    attributes: Hash32s
    category: Hash32s
    price: Floats
    created_at: Int64s
    first_seen_at: Int64s
    available: Bools
    named: Bools
    in_catalog: Bools
    vectors: Int8s
    neighbours: Int32s
    rule_weights: Floats
    covisit_weights: Floats
    rule_totals: Doubles
    """(N,) each item's rule weights added up."""
    popularity: Floats
    versions: Int64s
    """(N, 2) of the neighbours row and of the content row."""
    n_sessions: Int32s
    run_start: Int64s
    run_room: Int32s
    """(N,) of the item's sessions (`models.items.runs`)."""
    posted: Int32s
    """(N, 8) the posting lists that offer the item, by number; -1 where there are fewer."""

    def __init__(self, capacity: int, n_neighbours: int) -> None:
        self.n = 0
        self._capacity = max(1, capacity)
        k = n_neighbours
        self._layout: dict[str, tuple[type[Any], tuple[int, ...], Any]] = {
            "hashes": (np.int64, (), 0),
            "attributes": (np.uint32, (N_ATTRIBUTES,), 0),
            "category": (np.uint32, (), 0),
            "price": (np.float32, (), np.nan),
            "created_at": (np.int64, (), 0),
            "first_seen_at": (np.int64, (), 0),
            "available": (np.bool_, (), True),
            "named": (np.bool_, (), False),
            "in_catalog": (np.bool_, (), False),
            "vectors": (np.int8, (N_DIMENSIONS,), 0),
            "neighbours": (np.int32, (k,), -1),
            "rule_weights": (np.float32, (k,), 0),
            "covisit_weights": (np.float32, (k,), 0),
            "rule_totals": (np.float64, (), 0),
            "popularity": (np.float32, (2,), 0),
            "versions": (np.int64, (2,), 0),
            "n_sessions": (np.int32, (), 0),
            "run_start": (np.int64, (), 0),
            "run_room": (np.int32, (), 0),
            "posted": (np.int32, (N_ATTRIBUTES,), -1),
        }
        for name, (dtype, shape, fill) in self._layout.items():
            setattr(self, name, np.full((self._capacity, *shape), fill, dtype))
        self._index()

    def _index(self) -> None:
        self.places = np.empty(1 << (2 * self._capacity - 1).bit_length(), np.int32)
        index(self.places, self.hashes[: self.n])

    def rows_of(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes: (M,) rows, -1 where an item is unknown."""
        rows = np.empty(len(hashes), np.int32)
        look_up(self.places, self.hashes, hashes, rows)
        return rows

    def row_of(self, item: int) -> int:
        """Look up one item's hash: its row, -1 where it is unknown."""
        return look_up_one(self.places, self.hashes, item)

    def ensure(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes, giving a row to each that has none; returns (M,) rows."""
        rows = self.rows_of(hashes)
        missing = rows < 0
        if not missing.any():
            return rows
        new = np.unique(hashes[missing])
        if self.n + len(new) > self._capacity:
            self._grow(self.n + len(new))
        self.hashes[self.n : self.n + len(new)] = new
        insert(self.places, self.hashes, self.n, self.n + len(new))
        self.n += len(new)
        rows[missing] = self.rows_of(hashes[missing])
        return rows

    def _grow(self, needed: int) -> None:
        while self._capacity < needed:
            self._capacity *= 2
        for name, (dtype, shape, fill) in self._layout.items():
            grown = np.full((self._capacity, *shape), fill, dtype)
            old = getattr(self, name)
            grown[: len(old)] = old
            setattr(self, name, grown)
        self._index()
