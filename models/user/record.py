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
        ("moment_at", "<i8"),  # landmark of the short-term interests, Unix ms
        ("habit_at", "<i8"),  # landmark of the long-term interests and of the prices, Unix ms
        ("half_life_moment_ms", "<i8"),
        ("half_life_habit_ms", "<i8"),
        ("price_weight", "<f8"),  # sum of weights of priced items
        ("price_sum", "<f8"),  # sum of weight times price
        ("n_recent", "<i4"),
        ("n_interests", "<i4"),
        ("drift", "<f4"),  # 1 - cosine of the short-term and the long-term interests, in [0, 1]
        ("spare", "<f4"),
        ("recent_at", "<i8", N_RECENT),  # newest first, ties by item, then by weight
        ("recent_items", "<i8", N_RECENT),
        ("recent_weights", "<f4", N_RECENT),
        ("attributes", "<u4", N_INTERESTS),  # one a slot, in no order; the first n_interests are in use
        ("moment", "<f4", N_INTERESTS),  # short-term interest in each, as of moment_at
        ("habit", "<f4", N_INTERESTS),  # long-term interest in each, as of habit_at
        ("preferences", "<f4", N_INTERESTS),  # the learner's weight of each, as of habit_at
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


@inline
def take(
    state: States,  # (1,) written
    item: int,
    at: int,
    weight: float,
    price: float,
    attributes: Hash32s,  # (M,)
    negative: Hash32s,  # (N,)
    pair: Hash32s,  # (2 * N_COMPARED,) written
    known: Doubles,  # (2 * N_COMPARED,) written
) -> tuple[int, int]:
    """Take an action into a user's record; lay out what the preference learner is to learn from it.

    Parameters
    ----------
    weight : of the action, below 0 for a dislike.
    price : 0 unknown.
    attributes, negative : of the item, and of one that was not chosen.
    pair, known : attributes in which the two differ, the preferred item's before the other's, and the weights that the
        user's learner gives them by now.

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
    liked, other = attributes[:N_COMPARED], negative[:N_COMPARED]
    if weight < 0:
        liked, other = other, liked
    n_better = _lay_out(user, liked, other, pair, known, 0)
    return n_better, _lay_out(user, other, liked, pair, known, n_better) - n_better


@inline
def keep(state: States, at: int, pair: Hash32s, n: int, weights: Doubles) -> None:
    """Write the learner's weights of the first n attributes of `pair` back into the (1,) record."""
    user = state[0]
    scale = _learned_scale(user)
    for p in range(n):
        user.preferences[_slot(user, pair[p], at)] = weights[p] * scale


@kernel
def has_acted_on(state: States, item: int) -> bool:
    """Say whether an item is among the recent ones of the (1,) record."""
    user = state[0]
    for index in range(user.n_recent):  # noqa: SIM110 - kernels have no generators
        if user.recent_items[index] == item:
            return True
    return False


@inline
def _learned_scale(user: Any) -> float:
    """Express the learner's weights as of the newest action in units of the landmark: nothing decays backwards."""
    scale: float = 2.0 ** ((user.recent_at[0] - user.habit_at) / user.half_life_habit_ms)
    return scale


@inline
def _remember(user: Any, item: int, at: int, weight: float) -> None:
    """Insert an item among the recent ones, by time; the oldest falls out at the end."""
    index = user.n_recent
    while index > 0 and _stands_before(
        at, item, weight, user.recent_at[index - 1], user.recent_items[index - 1], user.recent_weights[index - 1]
    ):
        if index < N_RECENT:
            user.recent_at[index] = user.recent_at[index - 1]
            user.recent_items[index] = user.recent_items[index - 1]
            user.recent_weights[index] = user.recent_weights[index - 1]
        index -= 1
    if index < N_RECENT:
        user.recent_at[index] = at
        user.recent_items[index] = item
        user.recent_weights[index] = weight
        user.n_recent = min(user.n_recent + 1, N_RECENT)


@inline
def _stands_before(at: int, item: int, weight: float, other_at: int, other: int, other_weight: float) -> bool:
    """Say whether an action comes before another: the newer one, then by item and weight, whatever came first."""
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
            user.preferences[slot] *= factor
        user.price_weight *= factor
        user.price_sum *= factor
        user.habit_at = at


@inline
def _find(user: Any, attribute: int) -> int:
    """Find an attribute's slot; -1 where it has none."""
    for slot in range(user.n_interests):
        if user.attributes[slot] == attribute:
            return slot
    return -1


@inline
def _slot(user: Any, attribute: int, at: int) -> int:
    """Find an attribute's slot, or empty one for it: a free one, or the weakest attribute's."""
    slot = _find(user, attribute)
    if slot >= 0:
        return slot
    slot = user.n_interests
    if slot < N_INTERESTS:
        user.n_interests = slot + 1
    else:
        slot = _weakest(user, at)
    user.attributes[slot] = attribute
    user.moment[slot] = user.habit[slot] = user.preferences[slot] = 0.0
    return slot


@inline
def _weakest(user: Any, at: int) -> int:
    """Find the slot whose interests and preference, decayed to `at`, add up to least, by absolute value."""
    moment = 2.0 ** ((user.moment_at - at) / user.half_life_moment_ms)
    habit = 2.0 ** ((user.habit_at - at) / user.half_life_habit_ms)
    weakest, least = 0, np.inf
    for slot in range(user.n_interests):
        strength = abs(user.moment[slot]) * moment + (abs(user.habit[slot]) + abs(user.preferences[slot])) * habit
        if strength < least or (strength == least and user.attributes[slot] > user.attributes[weakest]):
            weakest, least = slot, strength
    return weakest


@inline
def _drift(user: Any) -> float:
    """Return 1 - cosine of the short-term and the long-term interests, at most 1; 0 where either has no length."""
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
def _lay_out(user: Any, attributes: Hash32s, others: Hash32s, pair: Hash32s, known: Doubles, n: int) -> int:
    """Write the attributes that are not among the others, with their preferences, from n on; return the end."""
    scale = _learned_scale(user)
    for attribute in attributes:
        if not _holds(others, attribute):
            slot = _find(user, attribute)
            pair[n], known[n] = attribute, user.preferences[slot] / scale if slot >= 0 else 0.0
            n += 1
    return n


@inline
def _holds(attributes: Hash32s, attribute: int) -> bool:
    """Say whether an attribute is among some."""
    for other in attributes:  # noqa: SIM110 - kernels have no generators
        if other == attribute:
            return True
    return False
