"""The loops over one shard's items and their neighbours.

Weights stand in landmark units (forward decay): an event that weighs w adds
``w * 2^((at - landmark_at) / half_life)``.

References
----------
G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu. Forward decay: a practical time decay model for streaming
systems. ICDE 2009.
A. Metwally, D. Agrawal, A. El Abbadi. Efficient computation of frequent and top-k elements in data streams.
ICDT 2005.
"""

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Bools, Floats, Int32s, Int64s
from models.numeric.hashmap import find_place
from models.numeric.kernels import inline, kernel

MAX_HALF_LIVES = 60
"""How far events may run ahead of the landmark before it moves on; float32 overflows at 127."""

ITEM = np.dtype(
    [
        ("version", "i8"),
        ("first_seen_at", "i8"),
        ("last_at", "i8"),
        ("short", "f4"),
        ("long", "f4"),
        ("n_neighbours", "i4"),
    ]
)
"""`last_at` is the newest event that changed the row, `short` and `long` the decayed popularity."""
NEIGHBOUR = np.dtype([("item", "i8"), ("rule", "f4"), ("covisit", "f4"), ("inherited", "f4")])


@kernel
def add_events(
    events: NDArray[np.void],  # (E,) batches.EVENT
    landmark_at: int,
    half_life_short_ms: int,
    half_life_long_ms: int,
    first_version: int,
    places: Int32s,
    hashes: Int64s,  # (C,) written
    items: NDArray[np.void],  # (C,) ITEM, written
    dirty: Bools,  # (C,) written
    n: int,
    new: Int32s,  # (E,) written: which events brought a new item
) -> int:
    """Add what users did with items; say how many items there are now. There is room for all of them."""
    n_before = n
    for e in range(len(events)):
        event = events[e]
        at = event["at"]
        place = find_place(places, hashes[:n], event["item"])
        row = places[place]
        if row < 0:
            row = n
            places[place] = row
            hashes[row] = event["item"]
            items[row]["version"] = first_version
            items[row]["first_seen_at"] = at
            items[row]["last_at"] = at
            new[n - n_before] = e
            n += 1
        item = items[row]
        item["version"] += 1
        item["first_seen_at"] = min(item["first_seen_at"], at)
        item["last_at"] = max(item["last_at"], at)
        item["short"] += event["weight"] * np.exp2((at - landmark_at) / half_life_short_ms)
        item["long"] += event["weight"] * np.exp2((at - landmark_at) / half_life_long_ms)
        dirty[row] = True
    return n


@kernel
def add_pairs(
    pairs: NDArray[np.void],  # (P,) batches.PAIR
    scale: float,
    places: Int32s,
    hashes: Int64s,
    items: NDArray[np.void],  # (C,) ITEM, written
    neighbours: NDArray[np.void],  # (C, K) NEIGHBOUR, written
    dirty: Bools,  # (C,) written
) -> None:
    """Add pairs, their weights times `scale`; those of an item that was forgotten meanwhile are void."""
    for p in range(len(pairs)):
        pair = pairs[p]
        row = places[find_place(places, hashes, pair["item"])]
        if row < 0:
            continue
        item = items[row]
        item["version"] += pair["n"]
        item["last_at"] = max(item["last_at"], pair["at"])
        dirty[row] = True
        k = _slot(item, neighbours[row], pair["neighbour"])
        neighbours[row, k]["rule"] += np.float32(pair["rule"] * scale)
        neighbours[row, k]["covisit"] += np.float32(pair["covisit"] * scale)


@inline
def _slot(item: np.void, slots: NDArray[np.void], neighbour: int) -> int:
    """Find a neighbour's slot, or make one: a free one, else that of the lightest (Space-Saving).

    A newcomer inherits the weight of the one that it replaces, or it would be replaced itself before it could
    show that it comes again; but the inherited weight stands apart, so only what was seen is ever published.
    """
    n: int = item["n_neighbours"]
    for k in range(n):
        if slots[k]["item"] == neighbour:
            return k
    if n < len(slots):
        item["n_neighbours"] = n + 1
        slots[n]["item"] = neighbour
        return n
    lightest = 0
    least = np.float32(np.inf)
    for k in range(n):
        weight = slots[k]["covisit"] + slots[k]["inherited"]
        if weight < least:
            lightest = k
            least = weight
    slots[lightest]["item"] = neighbour
    slots[lightest]["rule"] = 0
    slots[lightest]["covisit"] = 0
    slots[lightest]["inherited"] = least
    return lightest


@kernel
def rescale(items: NDArray[np.void], neighbours: NDArray[np.void], short: float, long: float) -> None:
    """Multiply all weights: what has the short half-life by `short`, the rest by `long`."""
    for row in range(len(items)):
        item = items[row]
        item["short"] *= short
        item["long"] *= long
        for k in range(item["n_neighbours"]):
            neighbours[row, k]["rule"] *= long
            neighbours[row, k]["covisit"] *= long
            neighbours[row, k]["inherited"] *= long


@kernel
def best_neighbours(
    rows: Int64s,  # (R,)
    items: NDArray[np.void],
    neighbours: NDArray[np.void],
    landmark_at: int,
    half_life_long_ms: int,
    out_items: Int64s,  # (R, B) written, and below: as many as `out_n` says
    out_rules: Floats,
    out_covisits: Floats,
    out_n: Int32s,  # (R,)
) -> None:
    """Choose each row's heaviest neighbours by rule + co-visitation, ties by hash, decayed to `last_at`."""
    n_best = out_items.shape[1]
    weights = np.empty(n_best, np.float32)
    slots = np.empty(n_best, np.int64)
    for r in range(len(rows)):
        item = items[rows[r]]
        n = 0
        for k in range(item["n_neighbours"]):
            candidate = neighbours[rows[r], k]
            weight = candidate["rule"] + candidate["covisit"]
            if weight <= 0:
                continue
            place = n
            while place > 0 and (
                weights[place - 1] < weight
                or (weights[place - 1] == weight and neighbours[rows[r], slots[place - 1]]["item"] > candidate["item"])
            ):
                if place < n_best:
                    weights[place] = weights[place - 1]
                    slots[place] = slots[place - 1]
                place -= 1
            if place < n_best:
                weights[place] = weight
                slots[place] = k
                n = min(n + 1, n_best)
        scale = np.exp2((landmark_at - item["last_at"]) / half_life_long_ms)
        for place in range(n):
            best = neighbours[rows[r], slots[place]]
            out_items[r, place] = best["item"]
            out_rules[r, place] = best["rule"] * scale
            out_covisits[r, place] = best["covisit"] * scale
        out_n[r] = n
