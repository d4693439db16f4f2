"""The neighbours of a shard's items in cells: an item has as many as it needs, and all of them lie in one array.

An item's cells are a block of 4 to 4,096, in buckets of at most 16. A neighbour's hash says in which bucket it is, so
it is found by a look at one, however many the item has. Where a bucket is full, the item moves to a block twice as
large at the array's end; what it leaves behind is lost until the array is laid out again. Where the block may not grow,
the newcomer takes the cell of the bucket's lightest (Space-Saving).

References
----------
A. Metwally, D. Agrawal, A. El Abbadi. Efficient computation of frequent and top-k elements in data streams.
ICDT 2005.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

NEIGHBOUR = np.dtype([("item", "i8"), ("rule", "f4"), ("covisit", "f4"), ("inherited", "f4")])
"""A cell; one without an item is free."""
BUCKET = 16
"""Cells among which a newcomer looks for one."""
LEAST_ROOM = 4
MOST_ROOM = 4_096
"""Cells that an item may have, beside the shard's budget."""
SPARSE = 4
"""A block that is filled to less than one part in so many does not grow: somebody has chosen ids of one bucket."""


class CellArrays(NamedTuple):
    """The cells of C items."""

    cells: NDArray[np.void]
    """(P,) `NEIGHBOUR`; all free from the first unused one on."""
    used: Int64s
    """(1,) cells from the first on that belong to blocks, or did."""
    starts: Int64s
    """(C,) where each item's block begins."""
    rooms: Int32s
    """(C,) how large it is."""
    sizes: Int32s
    """(C,) how many of its cells hold a neighbour."""

    @classmethod
    def empty(cls, n_items: int, n_cells: int) -> "CellArrays":
        """Make room."""
        rooms, sizes = np.zeros((2, n_items), np.int32)
        return cls(np.zeros(n_cells, NEIGHBOUR), np.zeros(1, np.int64), np.zeros(n_items, np.int64), rooms, sizes)


class Cells:
    """The array, and where in it each item's block lies.

    Parameters
    ----------
    n_items : how many there is room for.
    budget : cells of all items together, beyond which no item gets a block larger than a bucket.
    """

    def __init__(self, n_items: int, budget: int) -> None:
        self._budget = budget
        self.most_room = MOST_ROOM
        """Size up to which an item's block may grow by now."""
        self.arrays = CellArrays.empty(n_items, 0)

    def keep(self, rows: Int64s, n_items: int) -> None:
        """Lay out the blocks of some items again, in their order and without what was lost; let go of the others.

        There is room for at least one block of any size afterwards.
        """
        n, held = len(rows), self.arrays
        blocks = self._blocks(rows)
        spare = min(len(blocks) // 2, max(self._budget - len(blocks), len(blocks) // 8))
        new = CellArrays.empty(n_items, len(blocks) + max(spare, MOST_ROOM))
        new.cells[: len(blocks)] = held.cells[blocks]
        new.used[0] = len(blocks)
        new.rooms[:n], new.sizes[:n] = held.rooms[rows], held.sizes[rows]
        new.starts[:n] = np.cumsum(new.rooms[:n], dtype=np.int64) - new.rooms[:n]
        self.most_room = MOST_ROOM if len(blocks) < self._budget else BUCKET
        self.arrays = new

    def neighbours(self, n: int) -> NDArray[np.void]:
        """Return what the first n items hold, as many cells as their sizes say, item by item."""
        blocks = self.arrays.cells[self._blocks(np.arange(n))]
        held: NDArray[np.void] = blocks[blocks["item"] != 0]
        return held

    def restore(self, neighbours: NDArray[np.void], sizes: Int32s) -> None:
        """Take what `neighbours` returned of n items, of which nothing is held yet, and their (n,) sizes."""
        n = len(sizes)
        owners = np.repeat(np.arange(n), sizes)
        done = _put_back(neighbours, owners, 0, self.most_room, self.arrays)
        while done < len(neighbours):
            self.keep(np.arange(n), len(self.arrays.starts))
            done = _put_back(neighbours, owners, done, self.most_room, self.arrays)

    def _blocks(self, rows: Int64s) -> Int64s:
        """List the numbers of all cells of some items' blocks, in their order."""
        rooms = self.arrays.rooms[rows]
        ends = np.cumsum(rooms, dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        numbers: Int64s = np.arange(total) + np.repeat(self.arrays.starts[rows] - (ends - rooms), rooms)
        return numbers


@inline
def find_cell(row: int, neighbour: int, held: CellArrays) -> int:
    """Find a neighbour among an item's cells; -1 where it has none."""
    room = held.rooms[row]
    if room == 0:
        return -1
    first = _bucket(held.starts[row], room, neighbour)
    for k in range(first, first + min(room, BUCKET)):
        if held.cells[k]["item"] == neighbour:
            return k
    return -1


@inline
def take_cell(row: int, neighbour: int, most_room: int, held: CellArrays) -> int:
    """Find a neighbour among an item's cells, or give it one; -1 where the array has no room for a larger block.

    A newcomer that takes the place of another inherits its weight, or it would be replaced itself before it could
    show that it comes again; but the inherited weight stands apart, so only what was seen is ever published.
    """
    while True:
        room = held.rooms[row]
        free = lightest = -1
        least = np.float32(np.inf)
        if room > 0:
            first = _bucket(held.starts[row], room, neighbour)
            for k in range(first, first + min(room, BUCKET)):
                cell = held.cells[k]
                if cell["item"] == neighbour:
                    return k
                weight = cell["covisit"] + cell["inherited"]
                if cell["item"] == 0:
                    free = k
                elif weight < least:
                    lightest, least = k, weight
        if free >= 0:
            held.cells[free]["item"] = neighbour
            held.sizes[row] += 1
            return free
        if room >= most_room or held.sizes[row] * SPARSE < room:
            cell = held.cells[lightest]
            cell["item"] = neighbour
            cell["rule"] = cell["covisit"] = 0
            cell["inherited"] = least
            return lightest
        if held.used[0] + _larger(room) > len(held.cells):
            return -1
        _grow(row, held)


@inline
def free_cell(row: int, k: int, held: CellArrays) -> None:
    """Take an item's neighbour away."""
    cell = held.cells[k]
    cell["item"] = 0
    cell["rule"] = cell["covisit"] = cell["inherited"] = 0
    held.sizes[row] -= 1


@inline
def _bucket(start: int, room: int, neighbour: int) -> int:
    """Say where the bucket of a neighbour begins in a block that is not empty."""
    n_buckets = max(1, room // BUCKET)
    return start + (neighbour & (n_buckets - 1)) * BUCKET


@inline
def _larger(room: int) -> int:
    """Say how large the block after one of this size is."""
    return max(LEAST_ROOM, 2 * room)


@inline
def _grow(row: int, held: CellArrays) -> None:
    """Move an item to a larger block; the neighbours of a bucket go into two, so each has room."""
    start, room = held.starts[row], held.rooms[row]
    larger, moved = _larger(room), held.used[0]
    held.used[0] += larger
    for p in range(start, start + room):
        old = held.cells[p]
        if old["item"] == 0:
            continue
        k = _bucket(moved, larger, old["item"])
        while held.cells[k]["item"] != 0:
            k += 1
        _copy(old, held.cells[k])
    held.starts[row], held.rooms[row] = moved, larger


@inline
def _copy(old: np.void, new: np.void) -> None:
    """Write one cell to another."""
    new["item"] = old["item"]
    new["rule"] = old["rule"]
    new["covisit"] = old["covisit"]
    new["inherited"] = old["inherited"]


@kernel
def _put_back(
    neighbours: NDArray[np.void],  # (M,) NEIGHBOUR
    owners: Int64s,  # (M,) the item that each is of
    first: int,
    most_room: int,
    held: CellArrays,  # written
) -> int:
    """Put neighbours back from `first` on; say how far the array had room."""
    for m in range(first, len(neighbours)):
        k = take_cell(owners[m], neighbours[m]["item"], most_room, held)
        if k < 0:
            return m
        _copy(neighbours[m], held.cells[k])
    return len(neighbours)
