"""What came of the predictions of one contender, and of all: the raw material of the report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.items import ItemTable
from models.numeric.arrays import Doubles, Int64s
from models.offline.backtest.contenders import Predictions
from models.offline.backtest.item_counts import ItemCounts

Scalar = TypeVar("Scalar", bound=np.generic)


class Target(NamedTuple):
    """One thing that a user went on to do, and that was to be foreseen."""

    unit: str
    """Who is resampled by the bootstrap: the user."""
    item_id: str
    at: int
    """Unix milliseconds."""
    n_earlier: int
    """Acts of the user that the prediction could build on."""
    age_ms: int | None
    """How long the item had been known; None: not at all."""


@dataclass(slots=True)
class PredictionLog:
    """The predictions of one contender, in the order of the targets."""

    ranks: list[Int64s] = field(default_factory=list)
    novelty: list[Doubles] = field(default_factory=list)
    recommended: set[int] = field(default_factory=set)
    """Hashes of all items that were on a slate."""
    times_us: list[float] = field(default_factory=list)
    """How long one slate took, alone."""

    def add(self, predictions: Predictions, counts: ItemCounts, table: ItemTable) -> None:
        """Add the predictions of a batch."""
        rows = predictions.rows
        self.ranks.append(predictions.ranks)
        self.novelty.append(counts.novelty_of(rows, table))
        self.recommended.update(table.hashes[np.unique(rows[rows >= 0])].tolist())


@dataclass(slots=True)
class Outcomes:
    """All targets, and each contender's record of them."""

    targets: list[Target] = field(default_factory=list)
    records: defaultdict[str, PredictionLog] = field(default_factory=lambda: defaultdict(PredictionLog))
    n_items: int = 0
    """Items known at the end."""

    def ranks(self, name: str) -> Int64s:
        """(n,) ranks from 1, 0 for an item that was not among what was ranked."""
        return _joined(self.records[name].ranks, np.int64)

    def novelty(self, name: str) -> Doubles:
        """(n,) mean self-information of each slate, bits."""
        return _joined(self.records[name].novelty, np.float64)


def _joined(parts: Sequence[NDArray[Scalar]], kind: type[Scalar]) -> NDArray[Scalar]:
    return np.concatenate(parts) if parts else np.empty(0, kind)
