"""What a batch of events teaches, added up and split by shard, as arrays that travel.

A pair of items concerns two shards: that of the item it starts from, and, since co-visitation has no
direction, that of the other one. Sent one by one, pairs would be twenty messages an event; added up they are
one message a shard and batch.
"""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.counts.history import Withdrawal
from models.counts.transitions import Contribution, Earlier
from models.numeric.arrays import Doubles, Int32s, Int64s
from models.numeric.hashmap import empty_slots, multiplier_of, n_slots_of, place_of
from models.numeric.kernels import inline, kernel

EVENT = np.dtype([("item", "i8"), ("user", "i8"), ("at", "i8"), ("weight", "f8")])
PAIR = np.dtype([("item", "i8"), ("neighbour", "i8"), ("at", "i8"), ("n", "i8"), ("rule", "f8"), ("covisit", "f8")])
"""`at` is the newest event that added to the pair, `n` how often one did; weights hold for the reference."""
BACKWARDS = 0.5
"""What a habit weighs from the later item to the earlier one, beside 1 the other way."""
NO_PAIRS = np.empty(0, PAIR)
NO_SEGMENT = -1


class ShardBatch(NamedTuple):
    """All that one batch of events adds to one shard."""

    shard: int
    reference_at: int
    """The moment to which the pairs' weights are decayed."""
    events: NDArray[np.void]
    """(E,) `EVENT`: what users did with the shard's items, in the order of arrival."""
    item_ids: tuple[str, ...]
    """(E,) the events' items."""
    segment_names: tuple[str, ...]
    """(S,)"""
    segments: Int32s
    """(E, W) the events' segments as indices of `segment_names`, then `NO_SEGMENT`."""
    pairs: NDArray[np.void]
    """(P,) `PAIR`: the shard's items and what came before or after them in a session; no pair twice."""
    habits: NDArray[np.void] = NO_PAIRS
    """(Q,) `PAIR`: the same across sessions of a user."""
    withdrawn: tuple[int, ...] = ()
    """Hashes of the users who are erased: where there are any, all of it is taken back and not added."""


def add_up(
    contributions: Sequence[Contribution], n_shards: int, half_life_ms: int, half_life_between_ms: int
) -> list[ShardBatch]:
    """Add up what a batch of events teaches.

    An event j that comes r steps after i adds ``2^((at - reference_at) / half_life) / r`` to the rule i -> j,
    and the same without the 1 / r to the co-visitation of i and j, in both directions. An item is no
    neighbour of itself. Where i is the r-th newest act of earlier sessions, the two are habits: both weights are
    ``2^(-gap / half_life_between) / r`` times those of an event one step on, and half of it goes to the rule j -> i.

    Parameters
    ----------
    half_life_ms : of the pairs' weights.
    half_life_between_ms : by the time between the two acts of a habit.

    Returns
    -------
    One for each shard that the events concern, by shard.
    """
    if not contributions:
        return []
    items, item_ids, ats, weights, users, segments, previous, earlier, _ = zip(*contributions, strict=True)
    n = len(items)
    events = np.empty(n, EVENT)
    events["item"], events["user"], events["at"], events["weight"] = items, users, ats, weights
    reference_at = max(ats)
    before = np.fromiter(chain.from_iterable(previous), np.int64)
    starts = _starts_of(previous)
    forward, both = 1 / _steps(starts), np.ones(len(before))
    pairs = _pairs_of(events, starts, before, forward, 0.0, both, reference_at, half_life_ms)
    pairs, pair_starts = _split(pairs, n_shards)
    acts = np.array(list(chain.from_iterable(earlier)), np.int64).reshape(-1, len(Earlier._fields))
    starts = _starts_of(earlier)
    near = np.exp2(-1_000 * acts[:, 1] / half_life_between_ms) / _steps(starts)
    habits = _pairs_of(events, starts, acts[:, 0].copy(), near, BACKWARDS, near, reference_at, half_life_ms)
    habits, habit_starts = _split(habits, n_shards)
    order, event_starts = _by_shard(events["item"], n_shards)
    events = events[order]
    sorted_ids = [item_ids[e] for e in order.tolist()]
    segment_names, segment_indices = _index_segments(segments)
    segment_indices = segment_indices[order]
    batches = []
    for shard in range(n_shards):
        pair, pair_end = pair_starts[shard], pair_starts[shard + 1]
        habit, habit_end = habit_starts[shard], habit_starts[shard + 1]
        event, event_end = event_starts[shard], event_starts[shard + 1]
        if pair < pair_end or habit < habit_end or event < event_end:
            batch = ShardBatch(
                shard,
                reference_at,
                events[event:event_end],
                tuple(sorted_ids[event:event_end]),
                segment_names,
                segment_indices[event:event_end],
                pairs[pair:pair_end],
                habits[habit:habit_end],
            )
            batches.append(batch)
    return batches


def take_back(withdrawal: Withdrawal, n_shards: int, half_life_ms: int, half_life_between_ms: int) -> list[ShardBatch]:
    """Say what each shard has to give back of an erased user: all of them, since the user may be counted in any."""
    taught = add_up(withdrawal.contributions, n_shards, half_life_ms, half_life_between_ms)
    batches = {batch.shard: batch for batch in taught}
    nothing = np.empty(0, EVENT), (), (), np.empty((0, 0), np.int32), NO_PAIRS
    return [
        batches.get(shard, ShardBatch(shard, 0, *nothing))._replace(withdrawn=withdrawal.users)
        for shard in range(n_shards)
    ]


def _starts_of(lists: Sequence[Sequence[object]]) -> Int64s:
    """Say where each list begins when all are laid end to end, and the last ends."""
    starts = np.zeros(len(lists) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, lists), np.int64, len(lists)), out=starts[1:])
    return starts


def _steps(starts: Int64s) -> Int64s:
    """Count the entries of each list from 1 on."""
    steps: Int64s = np.arange(1, starts[-1] + 1) - np.repeat(starts[:-1], np.diff(starts))
    return steps


def _pairs_of(
    events: NDArray[np.void],  # (E,) EVENT
    starts: Int64s,  # (E + 1,) where the items before each event begin
    before: Int64s,  # (B,) items, newest first
    rules: Doubles,  # (B,) what each adds to the rule that leads from it to the event's item
    backwards: float,  # share of that which it adds to the rule that leads back
    covisits: Doubles,  # (B,) what it adds to both
    reference_at: int,
    half_life_ms: int,
) -> NDArray[np.void]:
    """Add up equal pairs: (P,) PAIR."""
    if not len(before):
        return NO_PAIRS
    pairs, slots = np.empty(2 * len(before), PAIR), empty_slots(4 * len(before))
    n = _add_up_pairs(events, starts, before, rules, backwards, covisits, reference_at, half_life_ms, slots, pairs)
    return pairs[:n]


def _split(pairs: NDArray[np.void], n_shards: int) -> tuple[NDArray[np.void], list[int]]:
    """Order pairs by their item's shard; return them and (n_shards + 1) where each starts."""
    if not len(pairs):
        return pairs, [0] * (n_shards + 1)
    order, starts = _by_shard(pairs["item"], n_shards)
    return pairs[order], starts


def _by_shard(items: Int64s, n_shards: int) -> tuple[Int64s, list[int]]:
    """Order records by their item's shard, stably; return the order and (n_shards + 1) where each starts."""
    shards = items % n_shards
    starts = np.zeros(n_shards + 1, np.int64)
    np.cumsum(np.bincount(shards, minlength=n_shards), out=starts[1:])
    return np.argsort(shards, kind="stable"), starts.tolist()


def _index_segments(segments: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], Int32s]:
    """Give each segment of a batch an index; return the names, and (E, W) the events' indices."""
    indices: dict[str, int] = {}
    rows: dict[tuple[str, ...], list[int]] = {}
    for names in segments:
        if names not in rows:
            rows[names] = [indices.setdefault(name, len(indices)) for name in names]
    width = max(map(len, rows.values()))
    padded = {names: row + [NO_SEGMENT] * (width - len(row)) for names, row in rows.items()}
    return tuple(indices), np.array([padded[names] for names in segments], np.int32)


@kernel
def _add_up_pairs(
    events: NDArray[np.void],  # (E,) EVENT
    starts: Int64s,  # (E + 1,) where each event's items begin
    before: Int64s,  # (B,) items before each event, newest first
    rules: Doubles,  # (B,)
    backwards: float,
    covisits: Doubles,  # (B,)
    reference_at: int,
    half_life_ms: int,
    slots: Int32s,  # room for the pairs and as many again, by `empty_slots`
    pairs: NDArray[np.void],  # (2 B,) PAIR, written
) -> int:
    """Add up equal pairs, in both directions; say how many differ."""
    n = 0
    for e in range(len(events)):
        item = events[e]["item"]
        at = events[e]["at"]
        weight = np.exp2((at - reference_at) / half_life_ms)
        for b in range(starts[e], starts[e + 1]):
            other = before[b]
            if other != item:
                n = _add_pair(slots, pairs, n, other, item, at, weight * rules[b], weight * covisits[b])
                n = _add_pair(slots, pairs, n, item, other, at, weight * backwards * rules[b], weight * covisits[b])
    return n


@inline
def _add_pair(
    slots: Int32s,  # where in `pairs` each pair is; written
    pairs: NDArray[np.void],  # PAIR, written
    n: int,
    item: int,
    neighbour: int,
    at: int,
    rule: float,
    covisit: float,
) -> int:
    """Add to a pair, or make it, after n others; return how many there are."""
    n_slots = n_slots_of(slots)
    # In one number by the secret, so that nobody can choose pairs that come out alike.
    slot = place_of(slots, np.int64(np.uint64(item) * multiplier_of(slots) + np.uint64(neighbour)))
    while slots[slot] >= 0:
        pair = pairs[slots[slot]]
        if pair["item"] == item and pair["neighbour"] == neighbour:
            pair["at"] = max(pair["at"], at)
            pair["n"] += 1
            pair["rule"] += rule
            pair["covisit"] += covisit
            return n
        slot = (slot + 1) & (n_slots - 1)
    slots[slot] = n
    pair = pairs[n]
    pair["item"] = item
    pair["neighbour"] = neighbour
    pair["at"] = at
    pair["n"] = 1
    pair["rule"] = rule
    pair["covisit"] = covisit
    return n + 1


def warm_up() -> None:
    """Compile the kernels, so that no batch waits for it."""
    add_up([Contribution(1, "", 0, 1.0, 1, ("",), (2,))], 1, 1, 1)
