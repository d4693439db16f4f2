"""A sample of all examples so far, learned again beside new ones, so that new tastes do not wipe out old ones."""

from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps each of the examples so far with the same probability, in bounded memory.

    The examples' own hashes decide what is kept, so the same examples give the same sample.

    References
    ----------
    J. S. Vitter. Random sampling with a reservoir. ACM TOMS 1985 (algorithm R). Rehearsal against forgetting:
    A. Robins. Catastrophic forgetting, rehearsal and pseudorehearsal. Connection Science 1995.

    Parameters
    ----------
    capacity : examples that are kept.
    kept, n_seen : what an earlier one held.
    """

    def __init__(self, capacity: int, kept: list[T] | None = None, n_seen: int = 0) -> None:
        self.capacity = capacity
        self.kept = (kept or [])[:capacity]
        self.n_seen = n_seen

    def add(self, example: T, example_hash: int) -> None:
        """Take an example; its hash says whether it is kept, and in place of which other."""
        self.n_seen += 1
        if len(self.kept) < self.capacity:
            self.kept.append(example)
        elif (index := example_hash % self.n_seen) < self.capacity:
            self.kept[index] = example

    def draw(self, n: int, seed: int) -> list[T]:
        """Draw at most n different examples; the same seed draws the same."""
        n = min(n, len(self.kept))
        chosen = np.random.default_rng(seed).choice(len(self.kept), n, replace=False) if n else ()
        return [self.kept[index] for index in chosen]
