"""The item table's arrays, one a column, which grow together."""

from typing import Any, NamedTuple

import numpy as np

from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.hashmap import insert, look_up, look_up_one, slots_for

N_ATTRIBUTES = 8
N_DIMENSIONS = 64
NEVER = int(np.iinfo(np.int64).max)
"""When an item expires that does not."""
SHORT, LONG = 0, 1
"""Columns of `popularity`, by half-life."""
NEIGHBOURS_VERSION, CONTENT_VERSION = 0, 1
"""Columns of `versions`, by the table of the row."""


class _Column(NamedTuple):
    """How an array is made."""

    dtype: Any
    shape: tuple[int, ...]
    """Of a row."""
    fill: Any


def _column(dtype: Any, *shape: int, fill: Any = 0) -> Any:
    return _Column(dtype, shape, fill)


class Columns:
    """Struct of arrays over dense rows; N is the capacity, of which the first `n` rows were ever given to an item.

    Weights are in landmark units (`models.items.table`). A row that was released goes to the next item that is new.

    Parameters
    ----------
    capacity : rows to begin with; doubled when they are used up.
    """

    n: int
    """Rows that were ever in use; those that are free now have no name and stand in no list."""
    hashes: Int64s = _column(np.int64)
    """(N,) of the items' ids; 0 where a row is free."""
    attributes: Hash32s = _column(np.uint32, N_ATTRIBUTES)
    """(N, 8) attribute hashes, 0 where there are fewer."""
    category: Hash32s = _column(np.uint32)
    """(N,) hash of the first category, 0 for none."""
    price: Floats = _column(np.float32, fill=np.nan)
    """(N,) prices, nan where unknown."""
    margin: Floats = _column(np.float32, fill=np.nan)
    """(N,) what a purchase earns, nan where unknown."""
    created_at: Int64s = _column(np.int64)
    """(N,) the catalog's time, else when the item was first seen; Unix ms."""
    expires_at: Int64s = _column(np.int64, fill=NEVER)
    """(N,) from then on the item is not recommended, Unix ms; NEVER where the catalog names no time."""
    location: Floats = _column(np.float32, 3, fill=np.nan)
    """(N, 3) unit vectors (`models.numeric.sphere`), to half a metre; nan where the catalog names no location."""
    reach_km: Floats = _column(np.float32, fill=np.nan)
    """(N,) how far the item reaches from there, nan where unknown."""
    first_seen_at: Int64s = _column(np.int64)
    """(N,) event time of the item's first event, Unix ms; 0 unknown."""
    available: Bools = _column(np.bool_, fill=True)
    """(N,) false where the catalog says so or removed the item."""
    named: Bools = _column(np.bool_)
    """(N,) false while an item is known by its hash alone."""
    in_catalog: Bools = _column(np.bool_)
    """(N,) whether the catalog holds the item."""
    graduated: Bools = _column(np.bool_)
    """(N,) whether the item has been shown as often as `learn` gives each a chance (`models.counts.impressions`)."""
    vectors: Int8s = _column(np.int8, N_DIMENSIONS)
    """(N, 64) content vectors of length 127."""
    neighbour_starts: Int64s = _column(np.int64)
    """(N,) and below: what came with the item in one session (`models.items.links`)."""
    neighbour_sizes: Int32s = _column(np.int32)
    neighbour_rooms: Int32s = _column(np.int32)
    neighbour_rule_totals: Doubles = _column(np.float64)
    habit_starts: Int64s = _column(np.int64)
    """(N,) and below: what came in other sessions of those who acted on the item."""
    habit_sizes: Int32s = _column(np.int32)
    habit_rooms: Int32s = _column(np.int32)
    habit_rule_totals: Doubles = _column(np.float64)
    popularity: Floats = _column(np.float32, 2)
    """(N, 2) decayed events at the short and the long half-life."""
    versions: Int64s = _column(np.int64, 2)
    """(N, 2) of the neighbours row and of the content row."""
    n_sessions: Int32s = _column(np.int32)
    """(N,) and below: the item's sessions (`models.items.runs`)."""
    run_start: Int64s = _column(np.int64)
    run_room: Int32s = _column(np.int32)
    posted: Int32s = _column(np.int32, N_ATTRIBUTES, fill=-1)
    """(N, 8) the posting lists that offer the item, by number; -1 where there are fewer."""

    def __init__(self, capacity: int) -> None:
        self.n = 0
        self.capacity = max(1, capacity)
        """N."""
        for name, column in _layout().items():
            setattr(self, name, self._empty(column))
        self._slots = slots_for(self.hashes[:0], self.capacity)
        self._free: Int32s = np.empty(0, np.int32)
        self.n_released = 0
        """Rows freed so far: whoever keeps something by row looks at this."""

    @property
    def n_items(self) -> int:
        """Items known."""
        return self.n - len(self._free)

    def _empty(self, column: _Column) -> Any:
        return np.full((self.capacity, *column.shape), column.fill, column.dtype)

    def rows_of(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes: (M,) rows, -1 where an item is unknown."""
        rows = np.empty(len(hashes), np.int32)
        look_up(self._slots, self.hashes, hashes, rows)
        return rows

    def row_of(self, item: int) -> int:
        """Look up one item's hash: its row, -1 where it is unknown."""
        return look_up_one(self._slots, self.hashes, item)

    def ensure(self, hashes: Int64s) -> Int32s:
        """Look up (M,) item hashes, giving a row to each that has none; returns (M,) rows."""
        rows = self.rows_of(hashes)
        missing = rows < 0
        if not missing.any():
            return rows
        new = np.unique(hashes[missing])
        if self.n_items + len(new) > self.capacity:
            self._grow(self.n_items + len(new))
        given = self._give(len(new))
        self.hashes[given] = new
        insert(self._slots, self.hashes, given)
        rows[missing] = self.rows_of(hashes[missing])
        return rows

    def _give(self, n: int) -> Int32s:
        """Take `n` rows for items, free ones first: (n,)."""
        n_again = min(n, len(self._free))
        again, self._free = self._free[:n_again], self._free[n_again:]
        first, self.n = self.n, self.n + n - n_again
        return np.concatenate([again, np.arange(first, self.n, dtype=np.int32)])

    def release(self, rows: Int32s) -> None:
        """Free (M,) rows in use, all different; whatever refers to them has to have forgotten them."""
        for name, column in _layout().items():
            getattr(self, name)[rows] = column.fill
        self._free = np.concatenate([self._free, rows])
        self.n_released += len(rows)
        self._slots = self._index()

    def _grow(self, needed: int) -> None:
        while self.capacity < needed:
            self.capacity *= 2
        for name, column in _layout().items():
            old, grown = getattr(self, name), self._empty(column)
            grown[: len(old)] = old
            setattr(self, name, grown)
        self._slots = self._index()

    def _index(self) -> Int32s:
        hashes = self.hashes[: self.n]
        return slots_for(hashes, self.capacity, np.flatnonzero(hashes).astype(np.int32))

    def rescale(self, short: float, long: float) -> None:
        """Multiply the popularity of the short half-life by `short`, the other one by `long`."""
        self.popularity[: self.n] *= np.array([short, long], np.float32)


def _layout() -> dict[str, _Column]:
    return {name: column for name, column in vars(Columns).items() if isinstance(column, _Column)}
