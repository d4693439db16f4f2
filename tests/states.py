"""Profile records in words: made from lists and dicts for tests, and read back into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.messages import Request
from models.strategy import Strategy
from models.user.profile import Profile
from models.user.query import Query
from models.user.record import STATE, new_state
from models.user.state import UserState

HALF_LIFE_MS = 1_800_000


@dataclass
class Evidence:
    """What a query says of its user."""

    recent_items: list[int]
    recent_at: list[int]
    recent_weights: list[float]
    interests: dict[int, tuple[float, float]]
    preferences: dict[int, float]
    drift: float
    mean_price: float


def query_of(profile: Profile, at: int) -> Query:
    """Open a page for the user of a profile at `at`."""
    user = UserState(profile.config, profile.events)
    user.profile = profile
    return user.due(Request("r", "ann", at), Strategy())


def evidence_of(query: Query) -> Evidence:
    """Read a query's record as of its time."""
    user = np.frombuffer(query.state, STATE)[0]
    n, m = int(user["n_recent"]), int(user["n_interests"])
    at = max(query.at, int(user["recent_at"][0]) if n else 0)
    moment = user["moment"][:m] * 2.0 ** (float(user["moment_at"] - at) / float(user["half_life_moment_ms"]))
    habit = user["habit"][:m] * 2.0 ** (float(user["habit_at"] - at) / float(user["half_life_habit_ms"]))
    names = user["attributes"][:m].tolist()
    preferences = user["preferences"][:m] * 2.0 ** (float(user["habit_at"] - at) / float(user["half_life_habit_ms"]))
    weight = float(user["price_weight"])
    return Evidence(
        user["recent_items"][:n].tolist(),
        user["recent_at"][:n].tolist(),
        user["recent_weights"][:n].tolist(),
        {name: (float(now), float(ever)) for name, now, ever in zip(names, moment, habit, strict=True) if now or ever},
        {name: float(value) for name, value in zip(names, preferences, strict=True) if value},
        float(user["drift"]),
        float(user["price_sum"]) / weight if weight > 0 else 0.0,
    )


def a_state(
    at: int,
    recent: Sequence[tuple[int, int, float]] = (),
    interests: Mapping[int, tuple[float, float]] | None = None,
    preferences: Mapping[int, float] | None = None,
    drift: float = 0.0,
    mean_price: float = 0.0,
) -> bytes:
    """Make a record that reads as given at `at`; `recent` is (item, at, weight), newest first."""
    state = new_state(HALF_LIFE_MS, HALF_LIFE_MS)
    state["moment_at"] = state["habit_at"] = at
    user = state[0]
    user["n_recent"] = len(recent)
    for place, (item, acted_at, weight) in enumerate(recent):
        user["recent_items"][place], user["recent_at"][place] = item, acted_at
        user["recent_weights"][place] = weight
    names = list(dict.fromkeys([*(interests or {}), *(preferences or {})]))
    user["n_interests"] = len(names)
    for slot, name in enumerate(names):
        user["attributes"][slot] = name
        user["moment"][slot], user["habit"][slot] = (interests or {}).get(name, (0.0, 0.0))
        user["preferences"][slot] = (preferences or {}).get(name, 0.0)
    user["drift"] = drift
    user["price_weight"], user["price_sum"] = 1.0, mean_price
    return state.tobytes()
