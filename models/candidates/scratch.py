"""Dense working arrays, one set a thread: an item's row is its own slot, so no kernel needs a hash map."""

import threading
from dataclasses import dataclass

import numpy as np

from models.numeric.arrays import Floats, Int32s


@dataclass(frozen=True, slots=True)
class Scratch:
    """Arrays with a cell an item row, all zeros between two kernels: who writes a cell clears it."""

    sums: Floats
    """(N,) the score gathered so far."""
    slots: Int32s
    """(N,) a position in some small list, plus 1."""


class _Local(threading.local):
    scratch: Scratch | None = None


_LOCAL = _Local()


def scratch(n: int) -> Scratch:
    """Return this thread's arrays, with room for at least `n` rows."""
    held = _LOCAL.scratch
    if held is None or len(held.sums) < n:
        size = max(1024, 1 << (n - 1).bit_length()) if n else 1024
        held = Scratch(np.zeros(size, np.float32), np.zeros(size, np.int32))
        _LOCAL.scratch = held
    return held
