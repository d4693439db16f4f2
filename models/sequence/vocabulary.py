"""What a sequence model knows by name: items and attributes, each with a number."""

from typing import NamedTuple

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Hash32s, Int8s, Int64s


class Vocabulary(NamedTuple):
    """Numbers from 1; 0 stands for what was not there when the model was trained."""

    items: Int64s
    """(V,) hashes, rising."""
    attributes: Hash32s
    """(A,) hashes, rising."""

    @classmethod
    def of(cls, items: Int64s, table: Columns) -> "Vocabulary":
        """Take items, each once, and all that the table says of them."""
        known = np.unique(items)
        rows = table.rows_of(known)
        attributes = np.unique(table.attributes[rows[rows >= 0]])
        return cls(known, attributes[attributes != 0])

    @property
    def is_sorted(self) -> bool:
        """Whether both lists rise, as a search in them takes for granted."""
        return all(bool((known[1:] > known[:-1]).all()) for known in self)

    def joined(self, other: "Vocabulary") -> "Vocabulary":
        """Know what either knows."""
        return Vocabulary(np.union1d(self.items, other.items), np.union1d(self.attributes, other.attributes))

    def numbers_of(self, other: "Vocabulary") -> tuple[Int64s, Int64s]:
        """Say which numbers another vocabulary's items, (V,), and attributes, (A,), have here."""
        return self.numbers(other.items), _look_up(self.attributes, other.attributes)

    def numbers(self, items: Int64s) -> Int64s:
        """Look up (...,) item hashes."""
        return _look_up(self.items, items)

    def facts(self, items: Int64s, table: Columns) -> "Facts":
        """Describe (M,) items by what a table says of them; what it does not know has nothing but its number."""
        rows = table.rows_of(items)
        return self.facts_of_rows(rows, table)._replace(numbers=self.numbers(items))

    def facts_of_rows(self, rows: Int64s | np.ndarray, table: Columns) -> "Facts":
        """Describe (M,) rows of a table; -1 is an item of which nothing is known."""
        known = (rows >= 0)[:, None]
        return Facts(
            self.numbers(table.hashes[rows]) * (rows >= 0),
            _look_up(self.attributes, table.attributes[rows]) * known,
            np.where(known, table.vectors[rows], 0).astype(np.int8),
        )


class Facts(NamedTuple):
    """What a model looks at of M items."""

    numbers: Int64s
    """(M,) 0 unknown."""
    attributes: Int64s
    """(M, 8) numbers, 0 where there are fewer or unknown ones."""
    contents: Int8s
    """(M, 64) content vectors of length 127, zero where there is no text."""


def _look_up(known: np.ndarray, sought: np.ndarray) -> Int64s:
    if not len(known):
        return np.zeros(sought.shape, np.int64)
    places = np.minimum(np.searchsorted(known, sought), len(known) - 1)
    return np.where(known[places] == sought, places + 1, 0)
