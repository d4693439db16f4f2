"""Open addressing from a 63-bit hash to the number of a row that starts with it; -1 marks an empty place."""

import numpy as np

from models.arrays import Int32s, Int64s
from models.kernels import inline, kernel

# The low bits choose a shard, so within a shard they are all alike.
_SHIFT = 20


@inline
def find_place(places: Int32s, keys: Int64s, key: int) -> int:
    """Find where `key` stands in `places`, or the empty place where it belongs.

    Parameters
    ----------
    places : (a power of two,) row numbers, at least one of them -1.
    keys : (N,) the key of each row.
    """
    mask = len(places) - 1
    place = (key >> _SHIFT) & mask
    while places[place] >= 0 and keys[places[place]] != key:
        place = (place + 1) & mask
    return place


@kernel
def index(places: Int32s, keys: Int64s) -> None:
    """Fill `places` from nothing with all rows of `keys`, which differ."""
    places[:] = -1
    for row in range(len(keys)):
        places[find_place(places, keys, keys[row])] = row


def places_for(keys: Int64s, capacity: int) -> Int32s:
    """Index (N,) keys, with room for `capacity` at half load."""
    places = np.empty(1 << max(4, (2 * capacity - 1).bit_length()), np.int32)
    index(places, keys)
    return places
