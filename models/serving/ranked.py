"""Ranked candidates: what a slate is chosen from, and what training and tuning look at."""

from dataclasses import dataclass

import numpy as np

from models.candidates.blend import Blended
from models.features.table import featurise
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch
from models.rankers.inputs import N_HISTORY, Inputs


@dataclass(slots=True)
class Ranked:
    """The scored candidates of a batch; good until the table changes."""

    table: ItemTable
    batch: QueryBatch
    blended: Blended
    scores: Floats
    """(B, C)"""
    version: str
    """The ranker's."""
    looked_at: Inputs | None
    """What the ranker looked at; None where it was the blend, which needs nothing more."""

    @property
    def inputs(self) -> Inputs:
        """What a ranker may look at, whether or not one did."""
        if self.looked_at is None:
            self.looked_at = inputs_of(self.batch, self.table, self.blended)
        return self.looked_at

    @property
    def features(self) -> Floats:
        """(B, C, F)."""
        return self.inputs.features

    def features_at(self, places: Int32s, chosen: Blended) -> Floats:
        """Return the (B, L, F) features of the candidates at (B, L) places, which are `chosen`; zeros for none (-1).

        Where no ranker has looked at any, only those that are logged are computed, a tenth.
        """
        if self.looked_at is None:
            return featurise(self.batch, self.table, chosen)
        features = np.zeros((*places.shape, self.looked_at.features.shape[2]), np.float32)
        _take_rows(self.looked_at.features, places, features)
        return features

    def scores_at(self, places: Int32s) -> Doubles:
        """Return the (B, L) scores of the candidates at (B, L) places; 0 for none (-1)."""
        scores = np.zeros(places.shape)
        _take(self.scores, places, scores)
        return scores


def inputs_of(batch: QueryBatch, table: ItemTable, blended: Blended) -> Inputs:
    """Gather what a ranker may look at: features, and ids of what is known."""
    return Inputs(
        featurise(batch, table, blended),
        _hashes_of(blended.rows, table),
        batch.users,
        _hashes_of(batch.history[:, :N_HISTORY], table),
    )


def _hashes_of(rows: Int32s, table: ItemTable) -> Int64s:
    """Name (B, K) rows by their hashes; 0 for none."""
    hashes = np.zeros(rows.shape, np.int64)
    _read_hashes(rows, table.hashes, hashes)
    return hashes


@kernel
def _read_hashes(rows: Int32s, names: Int64s, hashes: Int64s) -> None:
    for b in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            if rows[b, k] >= 0:
                hashes[b, k] = names[rows[b, k]]


@kernel
def _take(values: Floats, places: Int32s, taken: Doubles) -> None:
    for b in range(places.shape[0]):
        for p in range(places.shape[1]):
            if places[b, p] >= 0:
                taken[b, p] = values[b, places[b, p]]


@kernel
def _take_rows(values: Floats, places: Int32s, taken: Floats) -> None:
    for b in range(places.shape[0]):
        for p in range(places.shape[1]):
            if places[b, p] >= 0:
                for f in range(values.shape[2]):
                    taken[b, p, f] = values[b, places[b, p], f]
