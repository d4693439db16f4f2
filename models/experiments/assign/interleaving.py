"""Team-draft interleaving: two rankings in one slate, and the clicks say whose items users prefer.

As two captains choose their teams (Radlinski, Kurup and Joachims 2008, How Does Clickthrough Data Reflect Retrieval
Quality?). Each user sees both rankings, so far fewer users are needed than where each sees one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Drafted:
    """A position of an interleaved slate."""

    item: str
    team: int
    """0 where the first ranking brought it, 1 where the second did."""


def interleave(first: Sequence[str], second: Sequence[str], n_items: int, seed: int) -> list[Drafted]:
    """Merge two rankings, best first, into at most `n_items` positions.

    In each round a coin says who chooses first; each team takes its best item that is not taken yet. A ranking that
    has run out leaves the rest to the other, which earns what is acted on there: declared are slates of one length, and
    one that runs out of candidates is the shorter for it.

    Parameters
    ----------
    seed : of the coins, from the trigger's id, so that a replayed slate is the same slate.
    """
    coins = np.random.default_rng(seed).integers(0, 2, max(n_items, 1))
    waiting = [list(reversed(first)), list(reversed(second))]
    drafted: list[Drafted] = []
    taken: set[str] = set()
    for coin in coins.tolist():
        for team in (coin, 1 - coin):
            item = _best_left(waiting[team], taken)
            if item is not None and len(drafted) < n_items:
                taken.add(item)
                drafted.append(Drafted(item, team))
    return drafted


def _best_left(waiting: list[str], taken: set[str]) -> str | None:
    while waiting:
        item = waiting.pop()
        if item not in taken:
            return item
    return None
