"""Reading users' records into a batch's arrays: one pass over the batch, whatever its size."""

import math
from typing import Any

import numpy as np

from models.numeric.arrays import Doubles, Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.user.record import N_INTERESTS, N_RECENT, States

_MINUTE_MS = 60_000


@kernel
def read_users(
    states: States,  # (B,)
    at: Int64s,  # (B,)
    started_at: Int64s,  # (B,) when the running session began; the end of time where there is none
    told: Doubles,  # (B, 7) what the queries themselves say: see `models.query.batch.SIGNALS`
    current_items: Int64s,  # (B,) hashes, 0 none
    current: Int32s,  # (B,) rows
    recent: Int32s,  # (B * 32,) rows of the recent items
    attributes: Hash32s,  # (N, 8) of the items
    history: Int32s,  # (B, 32) written over -1
    history_weights: Floats,  # (B, 32) written over 0
    n_session: Int32s,  # (B,) written
    interest_starts: Int64s,  # (B + 1,) written over 0
    interest_attributes: Hash32s,  # (B * 48,) written
    interests: Floats,  # (B * 48, 2) written
    preference_starts: Int64s,  # (B + 1,) written over 0
    preference_attributes: Hash32s,  # (B * 48,) written
    preferences: Floats,  # (B * 48, 1) written
    mean_price: Floats,  # (B,) written over 0
    signals: Floats,  # (B, 12) written
) -> None:
    """Read histories, tastes and signals."""
    for b in range(len(states)):
        user = states[b]
        n_session[b] = _read_history(
            user, started_at[b], current_items[b], current[b], recent[b * N_RECENT : (b + 1) * N_RECENT],
            history[b], history_weights[b],
        )  # fmt: skip
        n = _read_interests(user, at[b], interest_starts[b], interest_attributes, interests)
        if n == interest_starts[b] and current[b] >= 0:
            n = _like_what_is_looked_at(attributes[current[b]], n, interest_attributes, interests)
        interest_starts[b + 1] = n
        preference_starts[b + 1] = _read_preferences(user, preference_starts[b], preference_attributes, preferences)
        if user.price_weight > 0:
            mean_price[b] = min(user.price_sum / user.price_weight, 3.0e38)
        _read_signals(user, at[b], n_session[b], told[b], signals[b])


@inline
def _read_history(
    user: Any, started_at: int, current_item: int, current: int, recent: Int32s, history: Int32s, weights: Floats
) -> int:
    """Lay out the history, newest first, the current item before all; count what belongs to the session."""
    first = 0
    if current_item != 0 and (user.n_recent == 0 or user.recent_items[0] != current_item):
        history[0], weights[0] = current, 1
        first = 1
    n_session = first
    for place in range(min(user.n_recent, N_RECENT)):
        if place + first < N_RECENT:
            history[place + first] = recent[place]
            weights[place + first] = user.recent_weights[place]
        n_session += user.recent_at[place] >= started_at
    return n_session


@inline
def _read_interests(user: Any, at: int, n: int, attributes: Hash32s, interests: Floats) -> int:
    """Lay out the interests, decayed to `at`, from place n on; return the place behind them.

    Nothing decays backwards: for a trigger from the past, interests read as of the newest action.
    """
    if user.n_interests == 0:
        return n
    if user.n_recent > 0:
        at = max(at, user.recent_at[0])
    moment_scale = 2.0 ** ((user.moment_at - at) / user.half_life_moment_ms)
    habit_scale = 2.0 ** ((user.habit_at - at) / user.half_life_habit_ms)
    for a in range(min(user.n_interests, N_INTERESTS)):
        if user.moment[a] != 0 or user.habit[a] != 0:
            attributes[n] = user.attributes[a]
            interests[n, 0], interests[n, 1] = user.moment[a] * moment_scale, user.habit[a] * habit_scale
            n += 1
    return n


@inline
def _like_what_is_looked_at(carried: Hash32s, n: int, attributes: Hash32s, interests: Floats) -> int:
    """Take a user who has no interests yet to like what they look at."""
    for attribute in carried:
        if attribute != 0:
            attributes[n] = attribute
            interests[n, 0] = interests[n, 1] = 1
            n += 1
    return n


@inline
def _read_preferences(user: Any, n: int, attributes: Hash32s, preferences: Floats) -> int:
    """Lay out the preferences from place n on; return the place behind them."""
    for a in range(min(user.n_interests, N_INTERESTS)):
        if user.preferences[a] != 0:
            attributes[n] = user.attributes[a]
            preferences[n, 0] = user.preferences[a]
            n += 1
    return n


@inline
def _read_signals(user: Any, at: int, n_session: int, told: Doubles, signals: Floats) -> None:
    """Write the signals; counts and minutes as log(1 + x) / 10, the hour as a point on a circle."""
    idle_ms = pause_ms = 0.0
    if user.n_recent > 0:
        idle_ms = max(at - user.recent_at[0], 0)
    if user.n_recent > 1:
        pause_ms = user.recent_at[0] - user.recent_at[1]
    n_events, n_last_5_min, n_last_hour, hour, is_mobile, is_request, is_search = told
    angle = hour * (2 * math.pi / 24)
    signals[0] = np.log1p(n_session) / 10
    signals[1] = np.log1p(n_events) / 10
    signals[2] = min(max(user.drift, 0.0), 1.0)
    signals[3] = np.log1p(n_last_5_min) / 10
    signals[4] = np.log1p(n_last_hour) / 10
    signals[5] = np.log1p(idle_ms / _MINUTE_MS) / 10
    signals[6] = np.log1p(pause_ms / _MINUTE_MS) / 10
    signals[7], signals[8] = np.sin(angle), np.cos(angle)
    signals[9], signals[10], signals[11] = is_mobile, is_request, is_search
