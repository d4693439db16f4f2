"""Ordered runs of numbers, one an item, in one array: what a kernel reads from start to end without jumping.

A run lies in a block with room to grow; where it outgrows it, it moves to the array's end, and what it leaves behind is
lost until the array is laid out anew.
"""

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

LEAST_ROOM = 4


class Runs:
    """The array, and where in it each item's run lies.

    Parameters
    ----------
    columns : the items' arrays; `run_start`, `n_sessions` (the run's length) and `run_room` are kept here.
    capacity : cells to begin with.
    """

    def __init__(self, columns: Columns, capacity: int) -> None:
        self._columns = columns
        self.cells: Int32s = np.zeros(capacity, np.int32)
        self.used: Int64s = np.zeros(1, np.int64)
        """(1,) cells from the first on that belong to blocks, or did."""

    @property
    def starts(self) -> Int64s:
        """(N,) where each item's run begins."""
        return self._columns.run_start

    @property
    def sizes(self) -> Int32s:
        """(N,) how long it is."""
        return self._columns.n_sessions

    @property
    def rooms(self) -> Int32s:
        """(N,) how long it may become where it lies."""
        return self._columns.run_room

    def lay_out(self, more: int) -> None:
        """Lay out all runs anew, each with room for one more, without what was lost, and with `more` free cells."""
        sizes = self.sizes
        rooms = np.where(sizes > 0, np.maximum(sizes + sizes // 2, LEAST_ROOM), 0)
        ends = np.cumsum(rooms, dtype=np.int64)
        cells = np.zeros(2 * int(ends[-1]) + more, np.int32)
        _copy_runs(self.cells, self.starts, sizes, ends - rooms, cells)
        self.starts[:], self.rooms[:] = ends - rooms, rooms
        self.cells, self.used[0] = cells, ends[-1]


@kernel
def _copy_runs(cells: Int32s, starts: Int64s, sizes: Int32s, to_starts: Int64s, to_cells: Int32s) -> None:
    for item in range(len(sizes)):
        for p in range(sizes[item]):
            to_cells[to_starts[item] + p] = cells[starts[item] + p]


@inline
def room_for_one_more(size: int, room: int) -> int:
    """Say how many free cells a run needs to take one more: none, or a block of twice the size."""
    return 0 if size < room else max(LEAST_ROOM, 2 * size)


@inline
def put_in(
    item: int, place: int, value: int, cells: Int32s, used: Int64s, starts: Int64s, sizes: Int32s, rooms: Int32s
) -> None:
    """Insert a value before the `place`-th of an item's run; `room_for_one_more` cells have to be free."""
    size, start = sizes[item], starts[item]
    needed = room_for_one_more(size, rooms[item])
    if needed:
        for p in range(size):
            cells[used[0] + p] = cells[start + p]
        starts[item] = start = used[0]
        rooms[item] = needed
        used[0] += needed
    for p in range(size, place, -1):
        cells[start + p] = cells[start + p - 1]
    cells[start + place] = value
    sizes[item] = size + 1


@inline
def take_out(item: int, place: int, cells: Int32s, starts: Int64s, sizes: Int32s) -> None:
    """Remove the `place`-th value of an item's run."""
    sizes[item] -= 1
    for p in range(starts[item] + place, starts[item] + sizes[item]):
        cells[p] = cells[p + 1]
