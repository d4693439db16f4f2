"""Rows of a shard's items as they are published: their popularity, and the best of their neighbours and habits."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.counts.cells import CellArrays
from models.items.wire import NeighboursRow, WeighedItems
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.decay import Landmark
from models.numeric.kernels import kernel

N_PUBLISHED = 200
"""Neighbours that are published of an item, and habits: the best of those that are counted."""
AT_ONCE = 1_024
"""Rows for whose neighbours there is room at a time."""


class BestNeighbours(NamedTuple):
    """The heaviest neighbours of R items, heaviest first, of each as many as `n` says."""

    items: Int64s
    """(R, B) hashes."""
    rules: Floats
    """(R, B)"""
    covisits: Floats
    """(R, B)"""
    n: Int32s
    """(R,)"""

    @classmethod
    def empty(cls, n_rows: int, n_best: int) -> "BestNeighbours":
        """Make room."""
        shape = (n_rows, n_best)
        weights = np.empty((2, *shape), np.float32)
        return cls(np.empty(shape, np.int64), weights[0], weights[1], np.empty(n_rows, np.int32))

    def of(self, row: int) -> WeighedItems:
        """Return those of one item."""
        n = self.n[row]
        return WeighedItems(self.items[row, :n], self.rules[row, :n], self.covisits[row, :n])


def publish(
    rows: Int64s,  # (R,)
    ids: list[str],
    landmark: Landmark,
    items: NDArray[np.void],  # (C,) neighbours.ITEM
    neighbours: CellArrays,
    habits: CellArrays,
) -> list[NeighboursRow]:
    """Make the rows of some items, of which `ids` has the names, all decayed to their newest event."""
    parts = (rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE))
    return [row for part in parts for row in _publish(part, ids, landmark, items, neighbours, habits)]


def _publish(
    rows: Int64s,
    ids: list[str],
    landmark: Landmark,
    items: NDArray[np.void],
    neighbours: CellArrays,
    habits: CellArrays,
) -> Iterator[NeighboursRow]:
    best, best_habits = (BestNeighbours.empty(len(rows), N_PUBLISHED) for _ in range(2))
    choose_best(rows, landmark, items, neighbours, best)
    choose_best(rows, landmark, items, habits, best_habits)
    chosen = items[rows]
    age = (landmark.at - chosen["last_at"]).astype(np.float64)
    # The bound keeps what has decayed to nothing from becoming nothing times infinity.
    short = chosen["short"] * np.exp2(np.minimum(age / landmark.half_life_short_ms, 1_000))
    long = chosen["long"] * np.exp2(np.minimum(age / landmark.half_life_long_ms, 1_000))
    for r, row in enumerate(rows.tolist()):
        item, popularity = chosen[r], (float(short[r]), float(long[r]))
        version, last_at, first_seen_at = (int(item[name]) for name in ("version", "last_at", "first_seen_at"))
        yield NeighboursRow(ids[row], version, last_at, first_seen_at, popularity, best.of(r), best_habits.of(r))


@kernel
def choose_best(
    rows: Int64s,  # (R,)
    landmark: Landmark,
    items: NDArray[np.void],  # (C,) ITEM
    held: CellArrays,
    best: BestNeighbours,  # written
) -> None:
    """Choose each row's heaviest neighbours by rule + co-visitation, ties by hash, decayed to its `last_at`."""
    n_best = best.items.shape[1]
    weights = np.empty(n_best, np.float32)
    chosen = np.empty(n_best, np.int64)
    for r in range(len(rows)):
        cells, start = held.cells, held.starts[rows[r]]
        n = 0
        for k in range(start, start + held.rooms[rows[r]]):
            weight = cells[k]["rule"] + cells[k]["covisit"]
            if weight <= 0:
                continue
            p = n
            while p > 0 and (
                weights[p - 1] < weight
                or (weights[p - 1] == weight and cells[chosen[p - 1]]["item"] > cells[k]["item"])
            ):
                if p < n_best:
                    weights[p] = weights[p - 1]
                    chosen[p] = chosen[p - 1]
                p -= 1
            if p < n_best:
                weights[p] = weight
                chosen[p] = k
                n = min(n + 1, n_best)
        scale = np.exp2((landmark.at - items[rows[r]]["last_at"]) / landmark.half_life_long_ms)
        for p in range(n):
            cell = cells[chosen[p]]
            best.items[r, p] = cell["item"]
            best.rules[r, p] = cell["rule"] * scale
            best.covisits[r, p] = cell["covisit"] * scale
        best.n[r] = n
