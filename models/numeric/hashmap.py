"""Open addressing from a 63-bit hash to the number of the row that has it as its key.

Where a key belongs is decided by a secret of this process: whoever can choose ids, and so their hashes, cannot choose
ids that all belong into one place, by which 40,000 of them took half a minute to load.

References
----------
M. Dietzfelbinger, T. Hagerup, J. Katajainen, M. Penttonen. A reliable randomized algorithm for the closest-pair
problem. Journal of Algorithms, 1997: multiply-shift hashing, universal for a random odd multiplier.
"""

import secrets
from typing import Any

import numpy as np

from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

EMPTY_SLOT = -1
_LEAST_SLOTS = 16
_N_EXTRA = 3
"""What stands behind the slots: the two halves of the multiplier, and by how much a product is shifted. There, and not
in a constant, since the kernels are cached on disk."""
_MULTIPLIER = np.array([secrets.randbits(64) | 1], np.uint64).view(np.int32)


@inline
def n_slots_of(slots: Int32s) -> int:
    """Return how many slots there are, a power of two."""
    return len(slots) - _N_EXTRA


@inline
def place_of(slots: Int32s, key: Any) -> Any:
    """Return where a key belongs."""
    n = n_slots_of(slots)
    product = np.uint64(key) * multiplier_of(slots)
    return np.int64(product >> np.uint64(slots[n + 2]))


@inline
def multiplier_of(slots: Int32s) -> Any:
    """Return the secret."""
    n = n_slots_of(slots)
    return np.uint64(np.uint32(slots[n + 1])) << np.uint64(32) | np.uint64(np.uint32(slots[n]))


@inline
def find_slot(slots: Int32s, keys: Int64s, key: int) -> int:
    """Find the slot that holds the row of `key`, or the empty one where it belongs.

    Parameters
    ----------
    slots : made by `slots_for`: row numbers, at least one of them `EMPTY_SLOT`.
    keys : (N,) the key of each row.
    """
    mask = n_slots_of(slots) - 1
    slot = place_of(slots, key)
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot  # type: ignore[no-any-return]


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
def insert(slots: Int32s, keys: Int64s, rows: Int32s) -> None:
    """Add (M,) rows, whose keys are new."""
    for row in rows:
        slots[find_slot(slots, keys, keys[row])] = row


def slots_for(keys: Int64s, capacity: int, rows: Int32s | None = None) -> Int32s:
    """Index keys, all different, with room for `capacity` at half load.

    Parameters
    ----------
    keys : (N,) the key of each row.
    rows : (M,) those that are in use; None: all.
    """
    slots = empty_slots(2 * capacity)
    insert(slots, keys, np.arange(len(keys), dtype=np.int32) if rows is None else rows)
    return slots


def empty_slots(n: int) -> Int32s:
    """Make room for n keys or, since it is a power of two, some more, and put the secret behind it."""
    n_bits = max(n - 1, _LEAST_SLOTS - 1).bit_length()
    slots = np.full((1 << n_bits) + _N_EXTRA, EMPTY_SLOT, np.int32)
    slots[-_N_EXTRA:-1], slots[-1] = _MULTIPLIER, 64 - n_bits
    return slots


class Numbers:
    """Gives keys, 63-bit hashes, dense numbers from 0 on."""

    def __init__(self) -> None:
        self.n = 0
        self._keys = np.zeros(16, np.int64)
        self._slots = slots_for(self._keys[:0], len(self._keys))

    @property
    def keys(self) -> Int64s:
        """Return the (n,) keys in the order of their numbers."""
        return self._keys[: self.n]

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
        insert(self._slots, self._keys, np.arange(first, self.n, dtype=np.int32))
        return self.of(keys)
