"""Reading users' records into a batch's arrays: one pass over the batch, whatever its size."""

from models.arrays import Doubles, Floats, Hash32s, Int32s, Int64s
from models.kernels import kernel
from models.profile_state import N_INTERESTS, N_RECENT, States


@kernel
def read_history(
    states: States,  # (B,)
    started_at: Int64s,  # (B,) when the running session began; the end of time where there is none
    current_items: Int64s,  # (B,) hashes, 0 none
    current: Int32s,  # (B,) rows
    recent: Int32s,  # (B, 32) rows of the recent items
    history: Int32s,  # (B, 32) written over -1
    weights: Floats,  # (B, 32) written over 0
    n_session: Int32s,  # (B,) written
) -> None:
    """Lay out each history, newest first, the current item before all; count what belongs to the session."""
    for b in range(len(states)):
        user = states[b]
        first = 0
        if current_items[b] != 0 and (user.n_recent == 0 or user.recent_items[0] != current_items[b]):
            history[b, 0], weights[b, 0] = current[b], 1
            first = 1
        n_session[b] = first
        for place in range(min(user.n_recent, N_RECENT)):
            if place + first < N_RECENT:
                history[b, place + first] = recent[b, place]
                weights[b, place + first] = user.recent_weights[place]
            n_session[b] += user.recent_at[place] >= started_at[b]


@kernel
def read_tastes(
    states: States,  # (B,)
    at: Int64s,  # (B,)
    looked_at: Hash32s,  # (B, 8) attributes of the current items, 0 where there are fewer
    starts: Int64s,  # (B + 1,) written
    attributes: Hash32s,  # (B * 48,) written
    weights: Floats,  # (B * 48, 2) written
    preference_starts: Int64s,  # (B + 1,) written
    preferred: Hash32s,  # (B * 48,) written
    preferences: Floats,  # (B * 48, 1) written
) -> None:
    """Lay out the interests, decayed to `at`, and the preferences.

    Nothing decays backwards: for a trigger from the past, interests read as of the newest action. Who has no interests
    yet is taken to like what they look at.
    """
    n = n_preferences = 0
    starts[0] = preference_starts[0] = 0
    for b in range(len(states)):
        user = states[b]
        read_at = at[b]
        if user.n_recent > 0:
            read_at = max(read_at, user.recent_at[0])
        moment_scale = habit_scale = 0.0
        if user.n_interests > 0:
            moment_scale = 2.0 ** ((user.moment_at - read_at) / user.half_life_moment_ms)
            habit_scale = 2.0 ** ((user.habit_at - read_at) / user.half_life_habit_ms)
        for a in range(min(user.n_interests, N_INTERESTS)):
            if user.moment[a] != 0 or user.habit[a] != 0:
                attributes[n] = user.attributes[a]
                weights[n, 0], weights[n, 1] = user.moment[a] * moment_scale, user.habit[a] * habit_scale
                n += 1
            if user.preferences[a] != 0:
                preferred[n_preferences] = user.attributes[a]
                preferences[n_preferences, 0] = user.preferences[a]
                n_preferences += 1
        if n == starts[b]:
            for attribute in looked_at[b]:
                if attribute != 0:
                    attributes[n] = attribute
                    weights[n, 0] = weights[n, 1] = 1
                    n += 1
        starts[b + 1], preference_starts[b + 1] = n, n_preferences


@kernel
def read_facts(
    states: States,  # (B,)
    at: Int64s,  # (B,)
    mean_price: Floats,  # (B,) written
    drift: Doubles,  # (B,) written
    idle_ms: Doubles,  # (B,) written
    pause_ms: Doubles,  # (B,) written
) -> None:
    """Read the decayed mean price (0 unknown), the drift, and how long ago the last two actions were."""
    for b in range(len(states)):
        user = states[b]
        if user.price_weight > 0:
            mean_price[b] = min(user.price_sum / user.price_weight, 3.0e38)
        drift[b] = min(max(user.drift, 0.0), 1.0)
        if user.n_recent > 0:
            idle_ms[b] = max(at[b] - user.recent_at[0], 0)
        if user.n_recent > 1:
            pause_ms[b] = user.recent_at[0] - user.recent_at[1]
