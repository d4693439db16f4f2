"""Taking contributions back: the loops that undo those of `models.counts.neighbours` and `models.counts.trending`.

Forward decay makes an addition the same number at any later moment, so that it is subtracted as it was added. What is
left of a sum of 32-bit numbers, where nothing should be, is taken for rounding and emptied: a neighbour that one user
alone made must not stay in a row as a trace of 1e-8.
"""

import numpy as np
from numpy.typing import NDArray

from models.counts.neighbours import ShardArrays
from models.numeric.arrays import Bools, Int32s, Int64s
from models.numeric.decay import Landmark
from models.numeric.hashmap import find_slot
from models.numeric.kernels import inline, kernel

RESIDUE = 1e-5
"""Share of what is subtracted below which the rest is rounding: an older contribution that small has decayed away."""


@inline
def _less(value: float, taken: float) -> float:
    """Subtract, down to nothing."""
    rest = value - taken
    return rest if rest > RESIDUE * taken else 0.0


@kernel
def withdraw_batch(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    pair_scale: float,  # turns the pairs' weights into landmark units
    n: int,
    landmark_at: int,  # `Landmark`
    half_life_short_ms: int,
    half_life_long_ms: int,
    slots: Int32s,  # `ShardArrays`, written
    hashes: Int64s,
    items: NDArray[np.void],
    neighbours: NDArray[np.void],
    dirty: Bools,
) -> None:
    """Subtract a batch from a shard that knows n items; what it does not know any more is void."""
    landmark = Landmark(landmark_at, half_life_short_ms, half_life_long_ms)
    shard = ShardArrays(slots, hashes, items, neighbours, dirty)
    for e in range(len(events)):
        event = events[e]
        row = shard.slots[find_slot(shard.slots, shard.hashes[:n], event["item"])]
        if row < 0:
            continue
        item, age = shard.items[row], event["at"] - landmark.at
        item["version"] += 1
        item["short"] = _less(item["short"], event["weight"] * np.exp2(age / landmark.half_life_short_ms))
        item["long"] = _less(item["long"], event["weight"] * np.exp2(age / landmark.half_life_long_ms))
        shard.dirty[row] = True
    for p in range(len(pairs)):
        pair = pairs[p]
        row = shard.slots[find_slot(shard.slots, shard.hashes[:n], pair["item"])]
        if row >= 0:
            shard.items[row]["version"] += pair["n"]
            shard.dirty[row] = True
            _withdraw_pair(
                shard.items[row], shard.neighbours[row], pair["neighbour"], pair["rule"] * pair_scale,
                pair["covisit"] * pair_scale,
            )  # fmt: skip


@inline
def _withdraw_pair(
    item: np.void,  # written
    cells: NDArray[np.void],  # (K,) neighbours.NEIGHBOUR, written
    neighbour: int,
    rule: float,
    covisit: float,
) -> None:
    """Subtract from a neighbour's cell, and give the cell up where nothing is left."""
    n: int = item["n_neighbours"]
    for k in range(n):
        if cells[k]["item"] == neighbour:
            cells[k]["rule"] = _less(cells[k]["rule"], rule)
            cells[k]["covisit"] = _less(cells[k]["covisit"], covisit)
            if cells[k]["covisit"] == 0:
                last = cells[n - 1]
                cells[k]["item"] = last["item"]
                cells[k]["rule"] = last["rule"]
                cells[k]["covisit"] = last["covisit"]
                cells[k]["inherited"] = last["inherited"]
                item["n_neighbours"] = n - 1
                last["item"] = 0
                last["rule"] = 0
                last["covisit"] = 0
                last["inherited"] = 0
            return


@kernel
def withdraw_trends(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    landmark_at: int,
    half_life_ms: int,
    entries: NDArray[np.void],  # (N,) trending.ENTRY, written
    users: Int64s,  # (N, k) written
    n: int,
) -> int:
    """Subtract events of one segment, of which n entries are used; say how many are used now."""
    for e in range(len(events)):
        event = events[e]
        for p in range(n):
            if entries[p]["item"] != event["item"]:
                continue
            taken = event["weight"] * np.exp2((event["at"] - landmark_at) / half_life_ms)
            entries[p]["weight"] = _less(entries[p]["weight"], taken)
            if entries[p]["weight"] == 0:
                n -= 1
                last = entries[n]
                entries[p]["item"] = last["item"]
                entries[p]["weight"] = last["weight"]
                entries[p]["inherited"] = last["inherited"]
                entries[p]["n_users"] = last["n_users"]
                users[p] = users[n]
                last["item"] = 0
                last["weight"] = 0
                last["inherited"] = 0
                last["n_users"] = 0
                users[n] = 0
            break
    return n


@kernel
def forget_users(
    gone: Int64s,  # (G,) hashes
    entries: NDArray[np.void],  # (N,) trending.ENTRY, written
    users: Int64s,  # (N, k) written
    n: int,
) -> int:
    """Take users out of the first k of each of the n entries; say of how many entries."""
    n_changed = 0
    for p in range(n):
        kept = 0
        for u in range(entries[p]["n_users"]):
            is_gone = False
            for g in range(len(gone)):
                is_gone = is_gone or users[p, u] == gone[g]
            if not is_gone:
                users[p, kept] = users[p, u]
                kept += 1
        if kept < entries[p]["n_users"]:
            n_changed += 1
            for u in range(kept, users.shape[1]):
                users[p, u] = 0
            entries[p]["n_users"] = kept
    return n_changed
