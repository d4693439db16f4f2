"""Pasts with defaults: a few users who do things one after another."""

from typing import Any

import numpy as np

from models.messages import Event, Item

NOW = 1_700_000_000_000
SECOND = 1_000


def an_event(number: int, user: str = "u-1", item: str = "a", **changes: Any) -> Event:
    """Happens `number` seconds after NOW."""
    fields = {"event_type": "click", "timestamp": NOW + number * SECOND}
    return Event(f"e-{number}", user, item, **(fields | changes))


def random_past(n: int = 200, n_users: int = 7, n_items: int = 12, seed: int = 0) -> list[Event]:
    rng = np.random.default_rng(seed)
    return [an_event(k, f"u-{rng.integers(n_users)}", f"i-{rng.integers(n_items)}") for k in range(n)]


def a_catalog(n_items: int = 12, n_categories: int = 3) -> list[Item]:
    return [Item(f"i-{k}", title=f"Lamp {k}", categories=[f"c-{k % n_categories}"]) for k in range(n_items)]


def news(n_events: int = 3_000, n_users: int = 400, seed: int = 0) -> list[Event]:
    """Read articles that appear every 20 minutes and are half as interesting every 4 hours, whatever came before."""
    rng = np.random.default_rng(seed)
    hours = 4 * 24
    born = np.arange(0, hours, 1 / 3)
    pull = rng.lognormal(0, 1, len(born))
    read = []
    for at in np.sort(rng.uniform(6, hours, n_events)):
        odds = np.where(born < at, pull * np.exp2((born - at) / 4), 0)
        article = rng.choice(len(born), p=odds / odds.sum())
        read.append(
            an_event(len(read), f"u-{rng.integers(n_users)}", f"a-{article}", timestamp=NOW + int(at * 3_600_000))
        )
    return read
