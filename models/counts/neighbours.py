"""One shard's items, their popularity and their neighbours: the loops over them.

Weights stand in landmark units (forward decay): an event that weighs w adds
``w * 2^((at - landmark_at) / half_life)``.

References
----------
G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu. Forward decay: a practical time decay model for streaming
systems. ICDE 2009.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.counts.cells import CellArrays, take_cell
from models.numeric.arrays import Bools, Int32s, Int64s
from models.numeric.decay import Landmark
from models.numeric.hashmap import find_slot
from models.numeric.kernels import inline, kernel

ITEM = np.dtype(
    [
        ("version", "i8"),
        ("first_seen_at", "i8"),
        ("last_at", "i8"),  # of the newest event that changed the row
        ("short", "f4"),  # decayed popularity at the short half-life
        ("long", "f4"),
    ]
)


class ShardArrays(NamedTuple):
    """C rows, of which the first ones are in use."""

    slots: Int32s
    """Rows by hash (`models.numeric.hashmap`)."""
    hashes: Int64s
    """(C,) of the items' ids."""
    items: NDArray[np.void]
    """(C,) `ITEM`"""
    dirty: Bools
    """(C,) changed since the row was published."""


@kernel
def learn_batch(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    pair_scale: float,  # turns the pairs' weights into landmark units
    most_room: int,
    first_version: int,  # of a new row
    n: int,
    new: Int32s,  # (E,) written: which events brought a new item
    landmark: Landmark,
    shard: ShardArrays,  # written; there is room for all new items
    held: CellArrays,  # written
) -> tuple[int, int]:
    """Add a batch to a shard that knows n items; say how many it knows now, and how many pairs there was room for."""
    n = _add_events(events, landmark, first_version, shard, n, new)
    return n, _add_pairs(pairs, 0, pair_scale, most_room, shard, held)


@kernel
def add_pairs(
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    first: int,
    scale: float,  # turns their weights into landmark units
    most_room: int,
    shard: ShardArrays,  # written
    held: CellArrays,  # written
) -> int:
    """Add pairs from `first` on; say how many there was room for."""
    return _add_pairs(pairs, first, scale, most_room, shard, held)


@inline
def _add_events(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    landmark: Landmark,
    first_version: int,
    shard: ShardArrays,  # written
    n: int,
    new: Int32s,  # (E,) written: which events brought a new item
) -> int:
    """Add what users did with items to a shard that knows n of them; say how many it knows now."""
    n_before = n
    for e in range(len(events)):
        event = events[e]
        at = event["at"]
        slot = find_slot(shard.slots, shard.hashes[:n], event["item"])
        row = shard.slots[slot]
        if row < 0:
            row = n
            shard.slots[slot] = row
            shard.hashes[row] = event["item"]
            shard.items[row]["version"] = first_version
            shard.items[row]["first_seen_at"] = at
            shard.items[row]["last_at"] = at
            new[n - n_before] = e
            n += 1
        item = shard.items[row]
        item["version"] += 1
        item["first_seen_at"] = min(item["first_seen_at"], at)
        item["last_at"] = max(item["last_at"], at)
        item["short"] += event["weight"] * np.exp2((at - landmark.at) / landmark.half_life_short_ms)
        item["long"] += event["weight"] * np.exp2((at - landmark.at) / landmark.half_life_long_ms)
        shard.dirty[row] = True
    return n


@inline
def _add_pairs(
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    first: int,
    scale: float,
    most_room: int,
    shard: ShardArrays,  # written
    held: CellArrays,  # written
) -> int:
    """Add pairs, their weights times `scale`; those of an item that was forgotten meanwhile are void."""
    for p in range(first, len(pairs)):
        pair = pairs[p]
        row = shard.slots[find_slot(shard.slots, shard.hashes, pair["item"])]
        if row < 0:
            continue
        k = take_cell(row, pair["neighbour"], most_room, held)
        if k < 0:
            return p
        item = shard.items[row]
        item["version"] += pair["n"]
        item["last_at"] = max(item["last_at"], pair["at"])
        shard.dirty[row] = True
        held.cells[k]["rule"] += np.float32(pair["rule"] * scale)
        held.cells[k]["covisit"] += np.float32(pair["covisit"] * scale)
    return len(pairs)
