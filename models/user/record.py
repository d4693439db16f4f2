"""The numeric heart of a profile: one packed record a user, which kernels change in place.

A record is a flat run of bytes, so that a snapshot is a copy, a batch of users is one buffer, and a million users take
gigabytes less than a million dicts would. Weights decay forward: a weight of time t is stored as
``weight * 2 ** ((t - landmark) / half_life)``, so adding touches one number, time costs nothing, and the order of
arrival does not matter. In the kernels below, `user` is one record.

References
----------
G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu. Forward decay: a practical time decay model for streaming systems.
ICDE 2009.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.numeric.arrays import Doubles, Hash32s
from models.numeric.kernels import inline, kernel

N_RECENT = 32
"""Recent items kept."""
N_INTERESTS = 48
"""Attributes kept, with their interests and preference."""
N_COMPARED = 4
"""Attributes of an item, the most telling ones, that the preference learner compares with another item's."""
MAX_HALF_LIVES = 32.0
"""Half-lives that a weight may lie ahead of its landmark before all are renormalised: far from overflow."""

STATE = np.dtype(
    [
        ("moment_at", "<i8"),  # landmark of the moment, Unix ms
        ("habit_at", "<i8"),  # landmark of the habit and of the prices, Unix ms
        ("half_life_moment_ms", "<i8"),
        ("half_life_habit_ms", "<i8"),
        ("price_weight", "<f8"),  # sum of weights of priced items
        ("price_sum", "<f8"),  # sum of weight times price
        ("n_recent", "<i4"),
        ("n_interests", "<i4"),
        ("drift", "<f4"),  # 1 - cosine of the moment and the habit, in [0, 1]
        ("spare", "<f4"),
        ("recent_at", "<i8", N_RECENT),  # newest first, ties by item, then by weight
        ("recent_items", "<i8", N_RECENT),
        ("recent_weights", "<f4", N_RECENT),
        ("attributes", "<u4", N_INTERESTS),
        ("moment", "<f4", N_INTERESTS),
        ("habit", "<f4", N_INTERESTS),
        ("preferences", "<f4", N_INTERESTS),
    ]
)

States = NDArray[np.void]
"""(B,) records of `STATE`."""


def new_state(half_life_moment_ms: int, half_life_habit_ms: int) -> States:
    """Make the (1,) record of a user never seen."""
    state = np.zeros(1, STATE)
    state["half_life_moment_ms"] = half_life_moment_ms
    state["half_life_habit_ms"] = half_life_habit_ms
    return state


NOBODY = new_state(1, 1).tobytes()
"""The record of a user of whom nothing is known."""


@kernel
def take(
    state: States,
    item: int,
    at: int,
    weight: float,
    price: float,
    attributes: Hash32s,
    negative: Hash32s,
    pair: Hash32s,
    known: Doubles,
) -> tuple[int, int]:
    """Take an action into a user's record; lay out what the preference learner is to learn from it.

    Parameters
    ----------
    state : (1,) changed in place.
    weight : of the action, below 0 for a dislike.
    price : 0 unknown.
    attributes, negative : of the item, and of one that was not chosen.
    pair, known : out: attributes in which the two differ, the preferred item's before the other's, and the weights
        that the user's learner gives them.

    Returns
    -------
    How many attributes only the preferred item has, and how many only the other, of the four most telling ones of each.
    """
    user = state[0]
    _remember(user, item, at, weight)
    _renormalise(user, at)
    habit_scale = 2.0 ** ((at - user.habit_at) / user.half_life_habit_ms)
    if price > 0 and weight > 0:
        user.price_weight += weight * habit_scale
        user.price_sum += weight * habit_scale * price
    if len(attributes) == 0:
        return 0, 0
    moment_scale = 2.0 ** ((at - user.moment_at) / user.half_life_moment_ms)
    for attribute in attributes:
        slot = _slot(user, attribute, at)
        user.moment[slot] += weight * moment_scale
        user.habit[slot] += weight * habit_scale
    user.drift = _drift(user)
    attributes, negative = attributes[:N_COMPARED], negative[:N_COMPARED]
    return _pair_up(user, weight > 0, attributes, negative, pair, known)


@kernel
def keep(state: States, at: int, pair: Hash32s, n: int, weights: Doubles) -> None:
    """Write the learner's weights of the first n attributes of `pair` back into the (1,) record."""
    user = state[0]
    for p in range(n):
        user.preferences[_slot(user, pair[p], at)] = weights[p]


@inline
def _remember(user: Any, item: int, at: int, weight: float) -> None:
    """Put an item where it belongs by time; ties by item, then by weight, so that no order of arrival matters."""
    place = user.n_recent
    while place > 0 and _stands_before(
        at, item, weight, user.recent_at[place - 1], user.recent_items[place - 1], user.recent_weights[place - 1]
    ):
        if place < N_RECENT:
            user.recent_at[place] = user.recent_at[place - 1]
            user.recent_items[place] = user.recent_items[place - 1]
            user.recent_weights[place] = user.recent_weights[place - 1]
        place -= 1
    if place < N_RECENT:
        user.recent_at[place] = at
        user.recent_items[place] = item
        user.recent_weights[place] = weight
        user.n_recent = min(user.n_recent + 1, N_RECENT)


@inline
def _stands_before(at: int, item: int, weight: float, other_at: int, other: int, other_weight: float) -> bool:
    if at != other_at:
        return at > other_at
    if item != other:
        return item < other
    return weight < other_weight


@inline
def _renormalise(user: Any, at: int) -> None:
    """Move a landmark that lies too far back to `at`."""
    if (at - user.moment_at) / user.half_life_moment_ms > MAX_HALF_LIVES:
        factor = 2.0 ** ((user.moment_at - at) / user.half_life_moment_ms)
        for slot in range(user.n_interests):
            user.moment[slot] *= factor
        user.moment_at = at
    if (at - user.habit_at) / user.half_life_habit_ms > MAX_HALF_LIVES:
        factor = 2.0 ** ((user.habit_at - at) / user.half_life_habit_ms)
        for slot in range(user.n_interests):
            user.habit[slot] *= factor
        user.price_weight *= factor
        user.price_sum *= factor
        user.habit_at = at


@inline
def _slot(user: Any, attribute: int, at: int) -> int:
    """Find an attribute's slot, or make one: free, or the weakest's."""
    n = user.n_interests
    for slot in range(n):
        if user.attributes[slot] == attribute:
            return slot
    slot = n
    if n < N_INTERESTS:
        user.n_interests = n + 1
    else:
        slot = _weakest(user, at)
    user.attributes[slot] = attribute
    user.moment[slot] = user.habit[slot] = user.preferences[slot] = 0.0
    return slot


@inline
def _weakest(user: Any, at: int) -> int:
    moment = 2.0 ** ((user.moment_at - at) / user.half_life_moment_ms)
    habit = 2.0 ** ((user.habit_at - at) / user.half_life_habit_ms)
    weakest, least = 0, np.inf
    for slot in range(user.n_interests):
        strength = abs(user.moment[slot]) * moment + abs(user.habit[slot]) * habit + abs(user.preferences[slot])
        if strength < least or (strength == least and user.attributes[slot] > user.attributes[weakest]):
            weakest, least = slot, strength
    return weakest


@inline
def _drift(user: Any) -> float:
    """Return 1 - cosine of the moment and the habit, at most 1; 0 where either has no length."""
    dot = moments = habits = 0.0
    for slot in range(user.n_interests):
        moment, habit = float(user.moment[slot]), float(user.habit[slot])
        dot += moment * habit
        moments += moment * moment
        habits += habit * habit
    if moments <= 0 or habits <= 0:
        return 0.0
    distance: float = 1.0 - dot / (np.sqrt(moments) * np.sqrt(habits))
    return min(max(distance, 0.0), 1.0)


@inline
def _pair_up(
    user: Any,
    liked: bool,
    attributes: Hash32s,
    negative: Hash32s,
    pair: Hash32s,
    known: Doubles,
) -> tuple[int, int]:
    """Lay out the attributes that only one of two items has, the preferred item's first."""
    better, worse = (attributes, negative) if liked else (negative, attributes)
    n = 0
    for attribute in better:
        if not _holds(worse, attribute):
            pair[n], known[n] = attribute, _preference(user, attribute)
            n += 1
    n_better = n
    for attribute in worse:
        if not _holds(better, attribute):
            pair[n], known[n] = attribute, _preference(user, attribute)
            n += 1
    return n_better, n - n_better


@inline
def _holds(attributes: Hash32s, attribute: int) -> bool:
    for other in attributes:  # noqa: SIM110 - kernels have no generators
        if other == attribute:
            return True
    return False


@inline
def _preference(user: Any, attribute: int) -> float:
    for slot in range(user.n_interests):
        if user.attributes[slot] == attribute:
            return float(user.preferences[slot])
    return 0.0
