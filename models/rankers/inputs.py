"""What rankers look at, and what they learn from: slates as arrays, padded to the longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.names import FEATURES, STAGES
from models.numeric.arrays import Bools, Floats, Int64s

N_HISTORY = 16
"""H, the newest items that the user acted on before the slate, as a ranker sees them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """B queries with C candidates each. Ids are `models.numeric.ids.hash64`; 0 is none."""

    features: Floats
    """(B, C, F) in the order of `models.names.FEATURES`."""
    items: Int64s
    """(B, C)"""
    users: Int64s
    """(B,)"""
    histories: Int64s
    """(B, H) items that the user acted on before, newest first."""

    @classmethod
    def of_features(cls, features: Floats) -> "Inputs":
        """Make inputs of (B, C, F) features alone: nobody known, nothing acted on."""
        b, c = features.shape[:2]
        return cls(features, np.zeros((b, c), np.int64), np.zeros(b, np.int64), np.zeros((b, N_HISTORY), np.int64))

    def __getitem__(self, chosen: Bools | Int64s | slice) -> "Inputs":
        """Keep some of the queries."""
        return Inputs(self.features[chosen], self.items[chosen], self.users[chosen], self.histories[chosen])


class SlateExample(NamedTuple):
    """A decided slate, as small as it can wait, travel and be rehearsed."""

    slate: int
    """Hash of its id."""
    user: int
    variant: str | None
    closed_at: int
    """Event time, Unix ms."""
    items: tuple[int, ...]
    history: tuple[int, ...]
    features: bytes
    """(L, F) float16."""
    labels: tuple[float, ...]
    weights: tuple[float, ...]
    positions: tuple[int, ...] = ()
    """At which each item was seen, 0 the top; empty in examples of older releases: in the order of the items."""
    propensities: tuple[float, ...] = ()
    """With which each stood there, as logged; empty where they were not kept."""
    placement: str | None = None
    """Where on the platform the slate was shown; None where there is one place only."""
    stages: tuple[int, ...] = ()
    """Of STAGES, which each item came to: a bit a stage, the lowest the first; empty where nobody asked."""
    decided: int = 0
    """Of which stages that is known by now, as bits."""
    chances: tuple[tuple[float, ...], ...] = ()
    """What the slate said of each item's stages; empty where it said nothing."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """B slates of at most L items, and what came of each item."""

    inputs: Inputs
    labels: Floats
    """(B, L)"""
    weights: Floats
    """(B, L) above 0; 0 where a slate has no item."""
    positions: Int64s | None = None
    """(B, L) at which each item was seen, from 0; None: in their order."""
    examination: Floats | None = None
    """(B, L) in (0, 1]: how probable it was that somebody looked at the item; None: certain."""
    stages: Bools | None = None
    """(B, L, S) whether each item came to each of STAGES; None where nobody asked."""
    decided: Bools | None = None
    """(B, S) of which stages that is known."""

    @property
    def n(self) -> int:
        """How many slates there are."""
        return len(self.labels)

    @property
    def present(self) -> Bools:
        """(B, L) where a slate has an item."""
        return self.weights > 0

    @property
    def inverse_examination(self) -> Floats:
        """(B, L) how many likes stand behind one that was seen: 1 / examination."""
        return np.ones_like(self.labels) if self.examination is None else np.float32(1) / self.examination


def collate(examples: Sequence[SlateExample]) -> Labelled:
    """Lay examples side by side, each with a column a name of FEATURES; nothing is said of how they were looked at."""
    n_features = len(FEATURES)
    b, length = len(examples), max((len(example.items) for example in examples), default=0)
    features = np.zeros((b, length, n_features), np.float32)
    items = np.zeros((b, length), np.int64)
    histories = np.zeros((b, N_HISTORY), np.int64)
    labels, weights = np.zeros((2, b, length), np.float32)
    positions = np.tile(np.arange(length), (b, 1))
    bits = 1 << np.arange(len(STAGES))
    stages = np.zeros((b, length, len(STAGES)), np.bool_)
    for place, example in enumerate(examples):
        n = len(example.items)
        features[place, :n] = np.frombuffer(example.features, np.float16).reshape(n, n_features)
        items[place, :n] = example.items
        histories[place, : len(example.history)] = example.history
        labels[place, :n] = example.labels
        weights[place, :n] = example.weights
        positions[place, :n] = example.positions or range(n)
        stages[place, : len(example.stages)] = np.array(example.stages, np.int64).reshape(-1, 1) & bits > 0
    decided = np.array([example.decided for example in examples], np.int64).reshape(-1, 1) & bits > 0
    users = np.array([example.user for example in examples], np.int64)
    inputs = Inputs(features, items, users, histories)
    return Labelled(inputs, labels, weights, positions, stages=stages, decided=decided)
