"""A sample of the examples so far, learned again beside new ones, so that new tastes do not wipe out old ones."""

from math import log
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
_LOTS = 1 << 20


class Reservoir(Generic[T]):
    """Keeps examples in bounded memory, each half as probably as one that came a half-life later.

    So it holds what is true now as well as what was true once, while what has changed for good fades. The examples' own
    hashes decide what is kept, so the same examples give the same sample.

    References
    ----------
    C. C. Aggarwal. On biased reservoir sampling in the presence of stream evolution. VLDB 2006 (algorithm 3.1; until
    it is full it takes every example). Rehearsal against forgetting: A. Robins. Catastrophic forgetting, rehearsal and
    pseudorehearsal. Connection Science 1995.

    Parameters
    ----------
    capacity : examples that are kept.
    half_life : examples after which one that was kept is still kept with probability 1/2; at least ln 2 times the
        capacity, the time after which each would have been replaced if every example was taken.
    kept, n_seen : what an earlier one held.
    """

    def __init__(self, capacity: int, half_life: int, kept: list[T] | None = None, n_seen: int = 0) -> None:
        self.capacity = capacity
        self.kept = (kept or [])[:capacity]
        self.n_seen = n_seen
        self._taken = min(1.0, capacity * log(2) / half_life)

    def add(self, example: T, example_hash: int) -> None:
        """Take an example; its hash says whether it is kept, and in place of which other."""
        self.n_seen += 1
        if len(self.kept) < self.capacity:
            self.kept.append(example)
            return
        index, rest = divmod(example_hash, _LOTS)
        if rest < self._taken * _LOTS:
            self.kept[index % self.capacity] = example

    def draw(self, n: int, seed: int) -> list[T]:
        """Draw at most n different examples; the same seed draws the same."""
        n = min(n, len(self.kept))
        chosen = np.random.default_rng(seed).choice(len(self.kept), n, replace=False) if n else ()
        return [self.kept[index] for index in chosen]
