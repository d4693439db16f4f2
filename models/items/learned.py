"""Learned item vectors: what a sequence model makes of each item, row by row."""

from threading import Lock
from typing import Protocol

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Bools, Floats, Int32s, Int64s


class Encoder(Protocol):
    """A trained model that puts items and users into one space, in which who wants what is a product."""

    @property
    def version(self) -> str:
        """Which model it is."""

    @property
    def n_dimensions(self) -> int:
        """D."""

    @property
    def n_recent(self) -> int:
        """T, the newest acts of a user that it reads."""

    def item_vectors(self, rows: Int32s, table: Columns) -> Floats:
        """Make the vectors of (M,) rows of a table: (M, D); zero where the model has learned nothing of an item."""

    def user_vectors(self, acts: Floats, at: Int64s, lengths: Int64s) -> Floats:
        """Read what each of B users did: (B, D).

        Parameters
        ----------
        acts : (B, T, D) vectors of the items, oldest first, padded behind.
        at : (B, T) Unix ms.
        lengths : (B,) acts of each, 1 at least.
        """

    def logits(self, users: Floats, vectors: Floats) -> Floats:
        """Multiply (A, D) users by (N, D) items: (A, N)."""


class LearnedVectors:
    """Vectors of one table's items by one encoder; only those of which something else is known are made again."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._vectors: Floats = np.zeros((0, encoder.n_dimensions), np.float32)
        self._n_made = 0
        self._stale: Bools = np.zeros(0, np.bool_)
        self._lock = Lock()

    def touch(self, rows: Int32s) -> None:
        """Note rows of which something else is known now."""
        if len(rows):
            missing = int(rows.max()) + 1 - len(self._stale)
            if missing > 0:
                self._stale = np.concatenate([self._stale, np.zeros(missing + len(self._stale), np.bool_)])
            self._stale[rows] = True

    def of(self, table: Columns) -> Floats:
        """Return the (N, D) vectors of the table's rows; nobody may change them."""
        with self._lock:
            if self._n_made < table.n or self._stale.any():
                self._make(table, table.n)
        return self._vectors[: table.n]

    def make_some(self, table: Columns, most: int) -> bool:
        """Make at most so many of the vectors that are not made yet; tells whether all are."""
        with self._lock:
            self._make(table, most)
            return not self._stale.any()

    def _make(self, table: Columns, most: int) -> None:
        if len(self._vectors) < table.n:
            grown = np.zeros((max(table.n, 2 * self._n_made), self._vectors.shape[1]), np.float32)
            grown[: self._n_made] = self._vectors[: self._n_made]
            self._vectors = grown
        self.touch(np.arange(self._n_made, table.n, dtype=np.int32))
        rows = np.flatnonzero(self._stale)[:most].astype(np.int32)
        self._vectors[rows] = self.encoder.item_vectors(rows, table)
        self._stale[rows] = False
        self._n_made = table.n
