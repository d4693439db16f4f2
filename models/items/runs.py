"""Ordered runs of numbers, one an item, in one array: what a kernel reads from start to end without jumping.

A run lies in a block with room to grow. Where it outgrows it, it moves to the array's end, and what it leaves behind is
lost until the array is laid out again.
"""

from typing import NamedTuple

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

LEAST_ROOM = 4


class RunArrays(NamedTuple):
    """What kernels take of all runs."""

    cells: Int32s
    """(C,)"""
    used: Int64s
    """(1,) cells from the first on that belong to blocks, or did."""
    starts: Int64s
    """(N,) where each item's run begins."""
    sizes: Int32s
    """(N,) how long it is."""
    rooms: Int32s
    """(N,) how long it may become where it lies."""


class Runs:
    """The array, and where in it each item's run lies.

    Parameters
    ----------
    columns : the items' arrays; `run_start`, `n_sessions` (the run's length) and `run_room` are kept here.
    capacity : cells to begin with.
    """

    def __init__(self, columns: Columns, capacity: int) -> None:
        self._columns = columns
        self._cells: Int32s = np.zeros(capacity, np.int32)
        self._used: Int64s = np.zeros(1, np.int64)

    @property
    def arrays(self) -> RunArrays:
        """All arrays, until items or cells are added."""
        columns = self._columns
        return RunArrays(self._cells, self._used, columns.run_start, columns.n_sessions, columns.run_room)

    def lay_out(self, more: int) -> None:
        """Lay out all runs again, each with room for one more, without what was lost, and with `more` free cells."""
        cells, used, starts, sizes, rooms = self.arrays
        new_rooms = np.where(sizes > 0, np.maximum(sizes + sizes // 2, LEAST_ROOM), 0)
        ends = np.cumsum(new_rooms, dtype=np.int64)
        new_cells = np.zeros(2 * int(ends[-1]) + more, np.int32)
        _copy_runs(cells, starts, sizes, ends - new_rooms, new_cells)
        starts[:], rooms[:] = ends - new_rooms, new_rooms
        self._cells, used[0] = new_cells, ends[-1]


@kernel
def _copy_runs(cells: Int32s, starts: Int64s, sizes: Int32s, new_starts: Int64s, new_cells: Int32s) -> None:
    """Copy all runs to `new_cells`, each to its new start: all but the cells are (N,)."""
    for item in range(len(sizes)):
        for p in range(sizes[item]):
            new_cells[new_starts[item] + p] = cells[starts[item] + p]


@inline
def room_for_one_more(size: int, room: int) -> int:
    """Say how many free cells a run needs to take one more: none, or a block of twice the size."""
    return 0 if size < room else max(LEAST_ROOM, 2 * size)


@inline
def put_in(item: int, position: int, value: int, runs: RunArrays) -> None:
    """Insert a value before a position of an item's run; `room_for_one_more` cells have to be free."""
    size, start = runs.sizes[item], runs.starts[item]
    needed = room_for_one_more(size, runs.rooms[item])
    if needed:
        for p in range(size):
            runs.cells[runs.used[0] + p] = runs.cells[start + p]
        runs.starts[item] = start = runs.used[0]
        runs.rooms[item] = needed
        runs.used[0] += needed
    for p in range(size, position, -1):
        runs.cells[start + p] = runs.cells[start + p - 1]
    runs.cells[start + position] = value
    runs.sizes[item] = size + 1


@inline
def take_out(item: int, position: int, runs: RunArrays) -> None:
    """Remove the value at a position of an item's run."""
    runs.sizes[item] -= 1
    for p in range(runs.starts[item] + position, runs.starts[item] + runs.sizes[item]):
        runs.cells[p] = runs.cells[p + 1]
