"""Lists of different lengths, one a query, laid end to end."""

from typing import NamedTuple

import numpy as np

from models.numeric.arrays import Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import kernel


class Ragged(NamedTuple):
    """Item rows: those of query b are [starts[b], starts[b + 1])."""

    starts: Int64s
    """(B + 1,)"""
    rows: Int32s
    """(M,) item rows, all known."""
    weights: Floats
    """(M,)"""

    @classmethod
    def of(cls, n: int, owners: Int64s, rows: Int32s, weights: Floats) -> "Ragged":
        """Group (M,) rows by their owner in [0, n), in their order, leaving out the unknown ones (-1)."""
        starts = np.zeros(n + 1, np.int64)
        if not len(rows):
            return cls(starts, rows, weights)
        grouped, their_weights = np.empty(len(rows), np.int32), np.empty(len(rows), np.float32)
        m = _group(owners, rows, weights, starts, grouped, their_weights)
        return cls(starts, grouped[:m], their_weights[:m])


class Tastes(NamedTuple):
    """Weights of attributes: those of query b are [starts[b], starts[b + 1])."""

    starts: Int64s
    """(B + 1,)"""
    attributes: Hash32s
    """(M,)"""
    weights: Floats
    """(M, W)"""

    @classmethod
    def empty(cls, n: int, most: int, width: int) -> "Tastes":
        """Make room for `most` attributes a query with `width` weights each."""
        return cls(np.zeros(n + 1, np.int64), np.empty(n * most, np.uint32), np.empty((n * most, width), np.float32))

    def cut(self) -> "Tastes":
        """Leave out the room that is left."""
        m = self.starts[-1]
        return Tastes(self.starts, self.attributes[:m], self.weights[:m])


@kernel
def _group(
    owners: Int64s,  # (M,)
    rows: Int32s,  # (M,)
    weights: Floats,  # (M,)
    starts: Int64s,  # (B + 1,) written over 0
    out_rows: Int32s,  # (M,) written
    out_weights: Floats,  # (M,) written
) -> int:
    """Sort by owner, by counting; return how many rows are known."""
    for m in range(len(rows)):
        if rows[m] >= 0:
            starts[owners[m] + 1] += 1
    for b in range(1, len(starts)):
        starts[b] += starts[b - 1]
    filled = starts.copy()
    for m in range(len(rows)):
        if rows[m] >= 0:
            position = filled[owners[m]]
            out_rows[position], out_weights[position] = rows[m], weights[m]
            filled[owners[m]] += 1
    return int(starts[-1])
