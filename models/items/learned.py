"""Learned item vectors: what a sequence model makes of each item, row by row."""

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from models.items.columns import Columns
from models.items.inverted_file import InvertedFile, invert
from models.numeric.arrays import Bools, Floats, Int32s, Int64s

LEAST_INVERTED = 32_768
"""With fewer items all products are computed: below, that takes no longer."""
STALE_SHARE = 1 / 32
"""Of the items whose vectors are newer than the inverted file, at most, before it is made again."""

Run: TypeAlias = Callable[[Callable[[], None]], object]
"""Calls a function, now or on a thread of its own."""


def at_once(work: Callable[[], None]) -> None:
    """Do it now: what comes of it is the same each time."""
    work()


class Inverted(NamedTuple):
    """An inverted file, and what it does not know."""

    lists: InvertedFile
    made_in: Int32s
    """(N,) in which generation each row's vector was made."""
    generation: int
    """The file's: vectors of later ones are not in it, or others."""
    newer: Int32s
    """Rows of those."""


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
    """Vectors of one table's items by one encoder; only those of which something else is known are made again.

    Parameters
    ----------
    run : makes an inverted file; until it is made, and where there are few items, there is none.
    """

    def __init__(self, encoder: Encoder, run: Run = at_once) -> None:
        self.encoder = encoder
        self._run = run
        self._known: Bools = np.zeros(0, np.bool_)
        self._made_in: Int32s = np.zeros(0, np.int32)
        self._generation = 0
        self._inverted: Inverted | None = None
        self._is_inverting = False
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

    def known(self, table: Columns) -> Bools:
        """Say of which of the table's (N,) rows the model has learned anything, once `of` has made the vectors."""
        return self._known[: table.n]

    def inverted(self, table: Columns) -> Inverted | None:
        """Return the inverted file over the vectors that `of` returned, where there is one."""
        with self._lock:
            held, n = self._inverted, table.n
            n_newer = n if held is None else len(held.newer)
            begins = n >= LEAST_INVERTED and n_newer > STALE_SHARE * n and not self._is_inverting
            if begins:
                self._is_inverting = True
                generation, vectors = self._generation, self._vectors[:n]
                self._generation += 1
        if begins:
            self._run(lambda: self._invert(vectors, generation))
            held = self._inverted
        return held

    def _invert(self, vectors: Floats, generation: int) -> None:
        """Make the file. A vector that changes meanwhile may be read half; it is newer, so it is not asked for.

        Where it cannot be made, it is not tried again: all products go on, or the file before it.
        """
        lists = invert(vectors)
        with self._lock:
            self._inverted = self._noted(lists, generation)
            self._is_inverting = False

    def _noted(self, lists: InvertedFile, generation: int) -> Inverted:
        made_in = self._made_in[: self._n_made]
        newer = np.flatnonzero((made_in > generation) & self._known[: self._n_made]).astype(np.int32)
        return Inverted(lists, made_in, generation, newer)

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
            missing = len(grown) - len(self._known)
            self._known = np.concatenate([self._known, np.zeros(missing, np.bool_)])
            self._made_in = np.concatenate([self._made_in, np.zeros(missing, np.int32)])
        self.touch(np.arange(self._n_made, table.n, dtype=np.int32))
        rows = np.flatnonzero(self._stale)[:most].astype(np.int32)
        self._vectors[rows] = self.encoder.item_vectors(rows, table)
        self._stale[rows] = False
        self._n_made = table.n
        self._known[rows] = self._vectors[rows].any(axis=1)
        self._made_in[rows] = self._generation
        if self._inverted is not None:
            self._inverted = self._noted(self._inverted.lists, self._inverted.generation)
