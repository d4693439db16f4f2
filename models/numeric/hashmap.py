"""Open addressing from a 63-bit hash to the number of a row that has it as its key; -1 marks an empty place."""

import numpy as np

from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

KEY_SHIFT = 20
"""Low bits of a key that play no part: they choose a shard, so within a shard they are all alike."""


@inline
def find_place(places: Int32s, keys: Int64s, key: int) -> int:
    """Find where `key` stands in `places`, or the empty place where it belongs.

    Parameters
    ----------
    places : (a power of two,) row numbers, at least one of them -1.
    keys : (N,) the key of each row.
    """
    mask = len(places) - 1
    place = (key >> KEY_SHIFT) & mask
    while places[place] >= 0 and keys[places[place]] != key:
        place = (place + 1) & mask
    return place


@kernel
def index(places: Int32s, keys: Int64s) -> None:
    """Fill `places` from nothing with all rows of `keys`, which differ."""
    places[:] = -1
    for row in range(len(keys)):
        places[find_place(places, keys, keys[row])] = row


@kernel
def look_up(places: Int32s, keys: Int64s, wanted: Int64s, rows: Int32s) -> None:
    """Write the row of each of the (M,) wanted keys, -1 where it is none."""
    for m in range(len(wanted)):
        rows[m] = places[find_place(places, keys, wanted[m])]


@kernel
def look_up_one(places: Int32s, keys: Int64s, wanted: int) -> int:
    """Return the row of a wanted key, -1 where it is none."""
    return int(places[find_place(places, keys, wanted)])


@kernel
def insert(places: Int32s, keys: Int64s, first: int, end: int) -> None:
    """Add the rows in [first, end), whose keys are new."""
    for row in range(first, end):
        places[find_place(places, keys, keys[row])] = row


def places_for(keys: Int64s, capacity: int) -> Int32s:
    """Index (N,) keys, with room for `capacity` at half load."""
    places = np.empty(1 << max(4, (2 * capacity - 1).bit_length()), np.int32)
    index(places, keys)
    return places


class Numbers:
    """Gives keys, 63-bit hashes, dense numbers from 0 on."""

    def __init__(self) -> None:
        self.n = 0
        self._keys = np.zeros(16, np.int64)
        self._places = places_for(self._keys[:0], len(self._keys))

    def of(self, keys: Int64s) -> Int32s:
        """Look up (M,) keys: (M,) numbers, -1 where one has none."""
        numbers = np.empty(len(keys), np.int32)
        look_up(self._places, self._keys, keys, numbers)
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
            self._places = places_for(keys_before, len(self._keys))
        self._keys[first : self.n] = new
        insert(self._places, self._keys, first, self.n)
        return self.of(keys)
