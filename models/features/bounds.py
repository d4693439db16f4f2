"""Small helpers of the feature kernels: what keeps a feature bounded, and where a list of candidates ends."""

import numpy as np

from models.numeric.arrays import Int32s
from models.numeric.kernels import inline


@inline
def damp(count: float) -> float:
    """log(1 + count) / 10, from 0 to 2 whatever comes in."""
    return min(np.log(1.0 + count) / 10, 2.0) if count > 0 else 0.0


@inline
def clip(value: float) -> float:
    """Keep within -1 and 1."""
    return min(max(value, -1.0), 1.0)


@inline
def count_candidates(rows: Int32s) -> int:
    """Count the candidates before the padding."""
    n = 0
    while n < len(rows) and rows[n] >= 0:
        n += 1
    return n
