"""Reading users' records into a batch's arrays: one pass over the batch, whatever its size."""

import math
from typing import Any, NamedTuple

import numpy as np

from models.names import SIGNALS
from models.numeric.arrays import Doubles, Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.ragged import Tastes
from models.user.record import N_INTERESTS, N_RECENT, States

SHORT, LONG = 0, 1
"""Columns of what decays at two half-lives: interests, popularity, what a visit weighs."""
_MINUTE_MS = 60_000
(
    _SESSION_LENGTH, _N_EVENTS, _DRIFT, _N_LAST_5_MIN, _N_LAST_HOUR, _IDLE, _PAUSE, _HOUR_SIN, _HOUR_COS, _IS_MOBILE,
    _IS_REQUEST, _IS_SEARCH,
) = range(len(SIGNALS))  # fmt: skip
"""Columns of the signals, in the order of SIGNALS."""


class Histories(NamedTuple):
    """What each of B users did lately, newest first, the item that they look at before all; R = 32."""

    rows: Int32s
    """(B, R) -1 unknown or none."""
    weights: Floats
    """(B, R) below 0 for a dislike, 0 where there is no item."""
    at: Int64s
    """(B, R) when that was, Unix ms; 0 where there is no item."""
    n_session: Int32s
    """(B,) how many belong to the running session."""

    @classmethod
    def empty(cls, n: int) -> "Histories":
        """Make room for n users."""
        rows, weights = np.full((n, N_RECENT), -1, np.int32), np.zeros((n, N_RECENT), np.float32)
        return cls(rows, weights, np.zeros((n, N_RECENT), np.int64), np.zeros(n, np.int32))


class Asked(NamedTuple):
    """What B queries themselves say."""

    at: Int64s
    """(B,) Unix ms."""
    started_at: Int64s
    """(B,) when the running session began; the end of time where there is none."""
    evidence: Doubles
    """(B, 7) n_events, n_last_5_min, n_last_hour, the hour, then 0 or 1: is_mobile, is_request, is_search."""
    current_hashes: Int64s
    """(B,) of the item that the user looks at, 0 none."""
    current: Int32s
    """(B,) its row, -1 unknown or none."""
    recent: Int32s
    """(B * R,) rows of the records' recent items."""


@inline
def n_newest(history: Histories, b: int, most: int) -> int:
    """Count the items of the running session of user b, at most so many; the newest always counts."""
    return int(min(most, max(1, history.n_session[b])))


@inline
def liked_item(history: Histories, b: int, back: int) -> np.int32:
    """Return the row of the item so many steps back; -1 where it is unknown, none or disliked."""
    return history.rows[b, back] if history.weights[b, back] >= 0 else np.int32(-1)


@kernel
def read_users(
    records: States,  # (B,)
    asked: Asked,
    item_attributes: Hash32s,  # (N, 8)
    history: Histories,  # written, empty before
    interests: Tastes,  # W = 2: short-term, long-term; written, empty before
    preferences: Tastes,  # W = 1; written, empty before
    mean_price: Floats,  # (B,) written over 0
    signals: Floats,  # (B, 12) written
) -> None:
    """Read histories, tastes and signals."""
    for b in range(len(records)):
        user, at, current = records[b], asked.at[b], asked.current[b]
        _read_history(user, b, asked, history)
        n = _read_interests(user, at, interests.starts[b], interests)
        if n == interests.starts[b] and current >= 0:
            n = _assume_interests(item_attributes[current], n, interests)
        interests.starts[b + 1] = n
        preferences.starts[b + 1] = _read_preferences(user, at, preferences.starts[b], preferences)
        if user.price_weight > 0:
            mean_price[b] = min(user.price_sum / user.price_weight, 3.0e38)
        _read_signals(user, at, history.n_session[b], asked.evidence[b], signals[b])


@inline
def _read_history(user: Any, b: int, asked: Asked, history: Histories) -> None:
    """Lay out the history, and count what belongs to the session."""
    rows, weights, at = history.rows[b], history.weights[b], history.at[b]
    first = 0
    looks_at = asked.current_hashes[b]
    if looks_at != 0 and (user.n_recent == 0 or user.recent_items[0] != looks_at):
        rows[0], weights[0], at[0] = asked.current[b], 1, asked.at[b]
        first = 1
    n_session = first
    for p in range(min(user.n_recent, N_RECENT)):
        if p + first < N_RECENT:
            rows[p + first] = asked.recent[b * N_RECENT + p]
            weights[p + first] = user.recent_weights[p]
            at[p + first] = user.recent_at[p]
        n_session += user.recent_at[p] >= asked.started_at[b]
    history.n_session[b] = n_session


@inline
def _read_interests(user: Any, at: int, n: int, interests: Tastes) -> int:
    """Lay out the interests, decayed to `at`, from n on; return where they end."""
    if user.n_interests == 0:
        return n
    short_scale, long_scale = _decays(user, at)
    for a in range(min(user.n_interests, N_INTERESTS)):
        if user.moment[a] != 0 or user.habit[a] != 0:
            interests.attributes[n] = user.attributes[a]
            interests.weights[n, SHORT] = user.moment[a] * short_scale
            interests.weights[n, LONG] = user.habit[a] * long_scale
            n += 1
    return n


@inline
def _assume_interests(carried: Hash32s, n: int, interests: Tastes) -> int:
    """Give a user without interests those in the (8,) attributes of the item that they look at; return the end."""
    for attribute in carried:
        if attribute != 0:
            interests.attributes[n] = attribute
            interests.weights[n, SHORT] = interests.weights[n, LONG] = 1
            n += 1
    return n


@inline
def _decays(user: Any, at: int) -> tuple[float, float]:
    """Return what the stored short-term and long-term weights are multiplied by at `at`.

    Nothing decays backwards: for a trigger from the past, weights read as of the newest action.
    """
    if user.n_recent > 0:
        at = max(at, user.recent_at[0])
    short: float = 2.0 ** ((user.moment_at - at) / user.half_life_moment_ms)
    long: float = 2.0 ** ((user.habit_at - at) / user.half_life_habit_ms)
    return short, long


@inline
def _read_preferences(user: Any, at: int, n: int, preferences: Tastes) -> int:
    """Lay out the preferences, decayed to `at`, from n on; return where they end."""
    if user.n_interests == 0:
        return n
    _, scale = _decays(user, at)
    for a in range(min(user.n_interests, N_INTERESTS)):
        if user.preferences[a] != 0:
            preferences.attributes[n] = user.attributes[a]
            preferences.weights[n, 0] = user.preferences[a] * scale
            n += 1
    return n


@inline
def _read_signals(user: Any, at: int, n_session: int, evidence: Doubles, signals: Floats) -> None:
    """Write the (12,) signals; counts and minutes as log(1 + x) / 10, the hour as a point on a circle."""
    idle_ms = pause_ms = 0.0
    if user.n_recent > 0:
        idle_ms = max(at - user.recent_at[0], 0)
    if user.n_recent > 1:
        pause_ms = user.recent_at[0] - user.recent_at[1]
    n_events, n_last_5_min, n_last_hour, hour, is_mobile, is_request, is_search = evidence
    angle = hour * (2 * math.pi / 24)
    signals[_SESSION_LENGTH] = np.log1p(n_session) / 10
    signals[_N_EVENTS] = np.log1p(n_events) / 10
    signals[_DRIFT] = min(max(user.drift, 0.0), 1.0)
    signals[_N_LAST_5_MIN] = np.log1p(n_last_5_min) / 10
    signals[_N_LAST_HOUR] = np.log1p(n_last_hour) / 10
    signals[_IDLE] = np.log1p(idle_ms / _MINUTE_MS) / 10
    signals[_PAUSE] = np.log1p(pause_ms / _MINUTE_MS) / 10
    signals[_HOUR_SIN], signals[_HOUR_COS] = np.sin(angle), np.cos(angle)
    signals[_IS_MOBILE], signals[_IS_REQUEST], signals[_IS_SEARCH] = is_mobile, is_request, is_search
