"""One shard's items, their popularity and their neighbours: the loops over them.

Weights stand in landmark units (forward decay): an event that weighs w adds
``w * 2^((at - landmark_at) / half_life)``.

References
----------
G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu. Forward decay: a practical time decay model for streaming
systems. ICDE 2009.
A. Metwally, D. Agrawal, A. El Abbadi. Efficient computation of frequent and top-k elements in data streams.
ICDT 2005.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Bools, Floats, Int32s, Int64s
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
        ("n_neighbours", "i4"),
    ]
)
NEIGHBOUR = np.dtype([("item", "i8"), ("rule", "f4"), ("covisit", "f4"), ("inherited", "f4")])


class ShardArrays(NamedTuple):
    """C rows, of which the first ones are in use."""

    slots: Int32s
    """Rows by hash (`models.numeric.hashmap`)."""
    hashes: Int64s
    """(C,) of the items' ids."""
    items: NDArray[np.void]
    """(C,) `ITEM`"""
    neighbours: NDArray[np.void]
    """(C, K) `NEIGHBOUR`, each item's in its first `n_neighbours` cells."""
    dirty: Bools
    """(C,) changed since the row was published."""


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


@kernel
def learn_batch(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    pair_scale: float,  # turns the pairs' weights into landmark units
    first_version: int,  # of a new row
    n: int,
    new: Int32s,  # (E,) written: which events brought a new item
    landmark_at: int,  # `Landmark`
    half_life_short_ms: int,
    half_life_long_ms: int,
    slots: Int32s,  # `ShardArrays`, written; there is room for all new items
    hashes: Int64s,
    items: NDArray[np.void],
    neighbours: NDArray[np.void],
    dirty: Bools,
) -> int:
    """Add a batch to a shard that knows n items; say how many it knows now.

    The named tuples travel unpacked: a batch holds a few events of a shard, and numba takes about as long to unbox one
    tuple of arrays as to learn them.
    """
    landmark = Landmark(landmark_at, half_life_short_ms, half_life_long_ms)
    shard = ShardArrays(slots, hashes, items, neighbours, dirty)
    n = _add_events(events, landmark, first_version, shard, n, new)
    _add_pairs(pairs, pair_scale, shard)
    return n


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
    scale: float,
    shard: ShardArrays,  # written
) -> None:
    """Add pairs, their weights times `scale`; those of an item that was forgotten meanwhile are void."""
    for p in range(len(pairs)):
        pair = pairs[p]
        row = shard.slots[find_slot(shard.slots, shard.hashes, pair["item"])]
        if row < 0:
            continue
        item = shard.items[row]
        item["version"] += pair["n"]
        item["last_at"] = max(item["last_at"], pair["at"])
        shard.dirty[row] = True
        k = _cell(item, shard.neighbours[row], pair["neighbour"])
        shard.neighbours[row, k]["rule"] += np.float32(pair["rule"] * scale)
        shard.neighbours[row, k]["covisit"] += np.float32(pair["covisit"] * scale)


@inline
def _cell(item: np.void, cells: NDArray[np.void], neighbour: int) -> int:
    """Find a neighbour among an item's (K,) cells, or give it one: a free one, else the lightest's (Space-Saving).

    A newcomer inherits the weight of the one that it replaces, or it would be replaced itself before it could
    show that it comes again; but the inherited weight stands apart, so only what was seen is ever published.
    """
    n: int = item["n_neighbours"]
    for k in range(n):
        if cells[k]["item"] == neighbour:
            return k
    if n < len(cells):
        item["n_neighbours"] = n + 1
        cells[n]["item"] = neighbour
        return n
    lightest = 0
    least = np.float32(np.inf)
    for k in range(n):
        weight = cells[k]["covisit"] + cells[k]["inherited"]
        if weight < least:
            lightest = k
            least = weight
    cells[lightest]["item"] = neighbour
    cells[lightest]["rule"] = 0
    cells[lightest]["covisit"] = 0
    cells[lightest]["inherited"] = least
    return lightest


@kernel
def rescale(items: NDArray[np.void], neighbours: NDArray[np.void], short: float, long: float) -> None:
    """Multiply (n,) `ITEM` and (n, K) `NEIGHBOUR` weights: the short popularity by `short`, the rest by `long`."""
    for row in range(len(items)):
        item = items[row]
        item["short"] *= short
        item["long"] *= long
        for k in range(item["n_neighbours"]):
            neighbours[row, k]["rule"] *= long
            neighbours[row, k]["covisit"] *= long
            neighbours[row, k]["inherited"] *= long


@kernel
def choose_best(
    rows: Int64s,  # (R,)
    landmark: Landmark,
    shard: ShardArrays,
    best: BestNeighbours,  # written
) -> None:
    """Choose each row's heaviest neighbours by rule + co-visitation, ties by hash, decayed to its `last_at`."""
    n_best = best.items.shape[1]
    weights = np.empty(n_best, np.float32)
    chosen = np.empty(n_best, np.int64)
    for r in range(len(rows)):
        item, cells = shard.items[rows[r]], shard.neighbours[rows[r]]
        n = 0
        for k in range(item["n_neighbours"]):
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
        scale = np.exp2((landmark.at - item["last_at"]) / landmark.half_life_long_ms)
        for p in range(n):
            cell = cells[chosen[p]]
            best.items[r, p] = cell["item"]
            best.rules[r, p] = cell["rule"] * scale
            best.covisits[r, p] = cell["covisit"] * scale
        best.n[r] = n
