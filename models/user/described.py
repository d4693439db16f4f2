"""A user's profile in plain words and numbers: what people are given who ask what is known of them."""

from collections.abc import Iterable
from typing import Any

from models.numeric.ids import hash64
from models.user.state import UserState


def describe(user: UserState, item_ids: Iterable[str]) -> dict[str, Any]:
    """Describe a profile, as of its newest event; nothing decays for it.

    Parameters
    ----------
    item_ids : items that may be in it; what is none of them is given by its hash, `#...`.
    """
    names = {hash64(item_id): item_id for item_id in item_ids}

    def name(item: int) -> str:
        return names.get(item, f"#{item}")

    profile, state = user.profile, user.profile.state[0]
    n_recent, n_interests = int(state["n_recent"]), int(state["n_interests"])
    session = profile.sessions.current
    return {
        "events": profile.n_events,
        "newest_event_at": profile.sessions.newest_at,
        "session": None if session is None else {"started_at": session.started_at, "last_at": session.last_at},
        "recent": [
            {"item": name(item), "at": at, "weight": weight}
            for item, at, weight in zip(
                state["recent_items"][:n_recent].tolist(),
                state["recent_at"][:n_recent].tolist(),
                state["recent_weights"][:n_recent].tolist(),
                strict=True,
            )
        ],
        "interests": [
            {"attribute": f"#{attribute}", "moment": moment, "habit": habit, "preference": preference}
            for attribute, moment, habit, preference in zip(
                *(state[column][:n_interests].tolist() for column in ("attributes", "moment", "habit", "preferences")),
                strict=True,
            )
        ],
        "shown_without_reaction": {name(item): weight for item, weight in profile.impressions.scaled.items()},
        "owned": [name(item) for item in profile.owned],
        "ratings": {"n": profile.n_ratings, "mean": profile.rating_mean},
        "mean_price": float(state["price_sum"] / state["price_weight"]) if state["price_weight"] > 0 else None,
    }
