"""What happens in the demo: real people's ratings, laid side by side."""

from collections import Counter
from dataclasses import dataclass

from dataflows.demo.datasets import DatasetError, movielens, side_by_side, split_users
from dataflows.errors import EddyError
from models.messages import Event, Item

SEED = 11
STREAM_SHARE = 0.5
MAX_GAP_S = 120
MAX_RATINGS = 40
"""A user's first so many ratings are streamed: many users at once, none of them fast enough to be taken for a bot."""
N_HISTORY = 20_000
"""Ratings of other users that the item tables learn before the stream begins."""


@dataclass(frozen=True)
class World:
    """The demo's data."""

    items: list[Item]
    history: list[Event]
    """In time order, of users who are not in the stream."""
    practice: list[Event]
    """The history, then a stream like the real one, of users who are in neither: what a ranker is trained on."""
    stream: list[Event]
    """In time order; timestamps are offsets from the stream's beginning, in milliseconds."""

    @property
    def titles(self) -> dict[str, str]:
        """Titles by item id."""
        return {item.item_id: item.title for item in self.items}


def load_world(n_events: int, rate: float) -> World:
    """Read MovieLens and lay out `n_events` of a stream at `rate` events a second, the same each time."""
    try:
        events, items = movielens()
    except DatasetError as error:
        raise EddyError(str(error)) from error
    others, streamed = split_users(events, STREAM_SHARE, "demo")
    history = side_by_side(others, min(N_HISTORY, len(others)), 0, 1_000.0, SEED, MAX_GAP_S)
    told = {event.user_id for event in history}
    rest = _first([event for event in others if event.user_id not in told])
    practice = side_by_side(rest, len(rest), history[-1].timestamp + 1_000, rate, SEED, MAX_GAP_S)
    return World(items, history, history + practice, side_by_side(_first(streamed), n_events, 0, rate, SEED, MAX_GAP_S))


def _first(events: list[Event]) -> list[Event]:
    """Keep each user's first ratings."""
    seen: Counter[str] = Counter()
    kept = []
    for event in events:
        seen[event.user_id] += 1
        if seen[event.user_id] <= MAX_RATINGS:
            kept.append(event)
    return kept
