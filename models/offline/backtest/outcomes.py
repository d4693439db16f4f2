"""What came of the predictions of one contender, and of all: the raw material of the report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.candidates.selection import usable
from models.items import ItemTable
from models.messages import Event
from models.numeric.arrays import Bools, Doubles, Int64s
from models.numeric.ids import hash_all
from models.numeric.metrics import hits
from models.offline.backtest.contender import Contender
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.sample import PredictionSample
from models.strategy import SessionSources
from models.user.query import Query

Scalar = TypeVar("Scalar", bound=np.generic)


class Target(NamedTuple):
    """One act that was to be predicted."""

    unit: str
    """Who is resampled by the bootstrap: the user."""
    item_id: str
    at: int
    """Unix milliseconds."""
    n_earlier: int
    """Acts of the user that the prediction could build on."""
    age_ms: int | None
    """How long the item had been known; None: not at all."""


def target_of(event: Event, n_earlier: int, table: ItemTable) -> Target:
    """Describe an act that is to be predicted."""
    row = int(table.rows_of(hash_all([event.item_id]))[0])
    known_at = int(table.created_at[row]) if row >= 0 else 0
    age_ms = max(event.timestamp - known_at, 0) if known_at else None
    return Target(event.user_id, event.item_id, event.timestamp, n_earlier, age_ms)


@dataclass(slots=True)
class PredictionLog:
    """The predictions of one contender, in the order of the targets."""

    ranks: list[Int64s] = field(default_factory=list)
    is_candidate: list[Bools] = field(default_factory=list)
    novelty: list[Doubles] = field(default_factory=list)
    recommended: set[int] = field(default_factory=set)
    """Hashes of all items that were on a slate."""
    times_us: list[float] = field(default_factory=list)
    """How long one slate took, alone."""
    sample: PredictionSample = field(default_factory=PredictionSample)


@dataclass(slots=True)
class Outcomes:
    """All targets, and each contender's record of them."""

    targets: list[Target] = field(default_factory=list)
    is_known: list[Bools] = field(default_factory=list)
    """Of the targets: whether the table knew the item, so that somebody could have recommended it."""
    records: defaultdict[str, PredictionLog] = field(default_factory=lambda: defaultdict(PredictionLog))
    n_items: int = 0
    """Items known at the end."""
    sources_by_session: tuple[SessionSources, ...] = ()
    """What the sources weighed at the end, where that was fitted on the way."""
    validation: "Outcomes | None" = None
    """What the same contenders made of the targets by which something was chosen."""
    chosen: dict[str, str] = field(default_factory=dict)
    """What was chosen by these, by name."""

    def predict(
        self,
        queries: Sequence[Query],
        targets: Sequence[Target],
        compared: Sequence[Contender],
        table: ItemTable,
        counts: ItemCounts,
    ) -> None:
        """Let each contender answer B queries, whose users went on to the B targets."""
        self.targets += targets
        truth = [target.item_id for target in targets]
        rows = table.rows_of(hash_all(truth))
        self.is_known.append((rows >= 0) & (usable(table)[rows] > 0) if table.n else np.zeros(len(rows), np.bool_))
        for contender in compared:
            record = self.records[contender.name]
            predictions = contender.predict(queries, table, truth)
            record.ranks.append(predictions.ranks)
            record.is_candidate.append(predictions.is_candidate)
            record.novelty.append(counts.novelty_of(predictions.rows, table))
            record.recommended.update(table.hashes[np.unique(predictions.rows[predictions.rows >= 0])].tolist())
            record.sample.offer(queries, truth, predictions.rows, table)

    def ranks(self, name: str) -> Int64s:
        """(n,) ranks from 1, 0 for an item that was not among what was ranked."""
        return _joined(self.records[name].ranks, np.int64)

    @property
    def n_unknown(self) -> int:
        """Targets whose item nobody could have recommended."""
        return int((~_joined(self.is_known, np.bool_)).sum())

    def candidate_recall(self, name: str) -> float:
        """Return the share of the targets that were among what a contender ranked."""
        found = _joined(self.records[name].is_candidate, np.bool_)
        return float(found.mean()) if len(found) else 0.0

    def novelty(self, name: str) -> Doubles:
        """(n,) mean self-information of each slate, bits."""
        return _joined(self.records[name].novelty, np.float64)


class OverTime(NamedTuple):
    """Hit rates by slices of the predictions, each slice as long as the others."""

    at: Doubles
    """(T,) mean time of each slice, Unix ms."""
    hit_rates: dict[str, Doubles]
    """(T,) of each contender: whether it gets better with what it learns, or falls behind."""


def over_time(outcomes: Outcomes, k: int, n_slices: int = 40) -> OverTime:
    """Split the predictions, in time order, into at most `n_slices`, and give each contender's HR@k in each."""
    at = np.array([target.at for target in outcomes.targets], np.float64)
    slices = [part for part in np.array_split(np.argsort(at, kind="stable"), n_slices) if len(part)]

    def means(values: Doubles) -> Doubles:
        return np.array([values[part].mean() for part in slices])

    return OverTime(means(at), {name: means(hits(outcomes.ranks(name), k)) for name in outcomes.records})


def _joined(parts: Sequence[NDArray[Scalar]], kind: type[Scalar]) -> NDArray[Scalar]:
    return np.concatenate(parts) if parts else np.empty(0, kind)
