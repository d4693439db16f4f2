"""Open addressing from a 63-bit hash to the number of the row that has it as its key."""

import numpy as np

from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

EMPTY_SLOT = -1
KEY_SHIFT = 20
"""Low bits of a key that play no part: they choose a shard, so within a shard they are all alike."""
_LEAST_SLOTS = 16


@inline
def find_slot(slots: Int32s, keys: Int64s, key: int) -> int:
    """Find the slot that holds the row of `key`, or the empty one where it belongs.

    Parameters
    ----------
    slots : (a power of two,) row numbers, at least one of them `EMPTY_SLOT`.
    keys : (N,) the key of each row.
    """
    mask = len(slots) - 1
    slot = (key >> KEY_SHIFT) & mask
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def look_up(slots: Int32s, keys: Int64s, sought: Int64s, rows: Int32s) -> None:
    """Write to (M,) `rows` the row of each of the (M,) keys that are sought, -1 where there is none."""
    for m in range(len(sought)):
        rows[m] = slots[find_slot(slots, keys, sought[m])]


@kernel
def look_up_one(slots: Int32s, keys: Int64s, sought: int) -> int:
    """Return the row of one key, -1 where there is none."""
    return int(slots[find_slot(slots, keys, sought)])


@kernel
def insert(slots: Int32s, keys: Int64s, first: int, end: int) -> None:
    """Add the rows in [first, end), whose keys are new."""
    for row in range(first, end):
        slots[find_slot(slots, keys, keys[row])] = row


def slots_for(keys: Int64s, capacity: int) -> Int32s:
    """Index (N,) keys, all different, with room for `capacity` at half load."""
    slots = np.full(max(_LEAST_SLOTS, 1 << (2 * capacity - 1).bit_length()), EMPTY_SLOT, np.int32)
    insert(slots, keys, 0, len(keys))
    return slots


class Numbers:
    """Gives keys, 63-bit hashes, dense numbers from 0 on."""

    def __init__(self) -> None:
        self.n = 0
        self._keys = np.zeros(16, np.int64)
        self._slots = slots_for(self._keys[:0], len(self._keys))

    def of(self, keys: Int64s) -> Int32s:
        """Look up (M,) keys: (M,) numbers, -1 where one has none."""
        numbers = np.empty(len(keys), np.int32)
        look_up(self._slots, self._keys, keys, numbers)
        return numbers

    def ensure(self, keys: Int64s) -> Int32s:
        """Look up (M,) keys, giving a number to each that has none: (M,)."""
        numbers = self.of(keys)
        new = np.unique(keys[numbers < 0])
        if not len(new):
            return numbers
        first, self.n = self.n, self.n + len(new)
        if self.n > len(self._keys):
            keys_before = self._keys[:first]
            self._keys = np.zeros(1 << (self.n - 1).bit_length(), np.int64)
            self._keys[:first] = keys_before
            self._slots = slots_for(keys_before, len(self._keys))
        self._keys[first : self.n] = new
        insert(self._slots, self._keys, first, self.n)
        return self.of(keys)
