"""Taking contributions back: the loops that undo those of `models.counts.neighbours` and `models.counts.trending`.

Forward decay makes an addition the same number at any later moment, so that it is subtracted as it was added. What is
left of a sum of 32-bit numbers, where nothing should be, is taken for rounding and emptied: a neighbour that one user
alone made must not stay in a row as a trace of 1e-8.
"""

import numpy as np
from numpy.typing import NDArray

from models.counts.cells import CellArrays, find_cell, free_cell
from models.counts.neighbours import ShardArrays
from models.numeric.arrays import Floats, Int64s
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
def withdraw_events(
    events: NDArray[np.void],  # (E,) pairs.EVENT
    n: int,
    landmark: Landmark,
    shard: ShardArrays,  # written
) -> None:
    """Subtract what a user did from a shard that knows n items.

    What it does not know any more is void, and so is what an item was given before it was given up: its row has begun
    again since.
    """
    for e in range(len(events)):
        event = events[e]
        row = shard.slots[find_slot(shard.slots, shard.hashes[:n], event["item"])]
        if row < 0 or event["at"] < shard.items[row]["first_seen_at"]:
            continue
        item, age = shard.items[row], event["at"] - landmark.at
        item["version"] += 1
        item["short"] = _less(item["short"], event["weight"] * np.exp2(age / landmark.half_life_short_ms))
        item["long"] = _less(item["long"], event["weight"] * np.exp2(age / landmark.half_life_long_ms))
        shard.dirty[row] = True


@kernel
def withdraw_pairs(
    pairs: NDArray[np.void],  # (P,) pairs.PAIR
    scale: float,  # turns their weights into landmark units
    n: int,
    shard: ShardArrays,  # written
    held: CellArrays,  # written
) -> None:
    """Subtract pairs as `withdraw_events` does events, and give a cell up where nothing is left."""
    for p in range(len(pairs)):
        pair = pairs[p]
        row = shard.slots[find_slot(shard.slots, shard.hashes[:n], pair["item"])]
        if row < 0 or pair["at"] < shard.items[row]["first_seen_at"]:
            continue
        shard.items[row]["version"] += pair["n"]
        shard.dirty[row] = True
        k = find_cell(row, pair["neighbour"], held)
        if k < 0:
            continue
        cell = held.cells[k]
        cell["rule"] = _less(cell["rule"], pair["rule"] * scale)
        cell["covisit"] = _less(cell["covisit"], pair["covisit"] * scale)
        if cell["covisit"] == 0:
            free_cell(row, k, held)


@kernel
def withdraw_trends(
    gone: Int64s,  # (G,) hashes of the user's keys
    events: NDArray[np.void],  # (E,) pairs.EVENT: what is known that the user did in the segment
    landmark_at: int,
    half_life_ms: int,
    entries: NDArray[np.void],  # (N,) trending.ENTRY, written
    users: Int64s,  # (N, U) written
    counted: Floats,  # (N, U) written
    n: int,
) -> tuple[int, int]:
    """Take a user out of one segment, of which n entries are used; say how many are used now, and how many changed.

    Of who is among an entry's newest users it is known what they counted for; of who is not any more, the heaviest act
    in the history says so.
    """
    n_changed = 0
    p = 0
    while p < n:
        entry = entries[p]
        taken = 0.0
        for g in range(len(gone)):
            for slot in range(min(entry["n_users"], users.shape[1])):
                if users[p, slot] == gone[g]:
                    taken += counted[p, slot]
                    _forget_user(entry, users[p], counted[p], slot)
                    break
        if taken == 0:
            for e in range(len(events)):
                if events[e]["item"] == entry["item"]:
                    weight = events[e]["weight"] * np.exp2((events[e]["at"] - landmark_at) / half_life_ms)
                    taken = max(taken, weight)
        if taken == 0:
            p += 1
            continue
        n_changed += 1
        entry["weight"] = _less(entry["weight"], taken)
        if entry["weight"] > 0:
            p += 1
            continue
        n -= 1
        last = entries[n]
        entry["item"] = last["item"]
        entry["weight"] = last["weight"]
        entry["inherited"] = last["inherited"]
        entry["n_users"] = last["n_users"]
        users[p] = users[n]
        counted[p] = counted[n]
        last["item"] = 0
        last["weight"] = 0
        last["inherited"] = 0
        last["n_users"] = 0
        users[n] = 0
        counted[n] = 0
    return n, n_changed


@inline
def _forget_user(
    entry: np.void,  # trending.ENTRY, written
    users: Int64s,  # (U,) a ring, written
    counted: Floats,  # (U,) written
    slot: int,
) -> None:
    """Take one user out of an entry's ring; the others stand in it as if the oldest had come first."""
    size, n = len(users), entry["n_users"]
    held = min(n, size)
    first = n % size if n > size else 0
    kept_users = np.zeros(size, np.int64)
    kept = np.zeros(size, np.float32)
    k = 0
    for position in range(held):
        at = (first + position) % size
        if at != slot:
            kept_users[k] = users[at]
            kept[k] = counted[at]
            k += 1
    users[:] = kept_users
    counted[:] = kept
    entry["n_users"] = k
