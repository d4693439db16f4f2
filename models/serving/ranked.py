"""Ranked candidates: what a slate is chosen from, and what training and tuning look at."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.candidates.blend import Blended
from models.features.table import featurise
from models.items import ItemTable
from models.numeric.arrays import Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch
from models.rankers.inputs import N_HISTORY, Inputs
from models.serving.filling import ColdPool
from models.serving.ruled import Ruled


class Chosen(NamedTuple):
    """The candidates that stand on B slates of L positions at most."""

    blended: Blended
    """(B, L)"""
    scores: Doubles
    """(B, L) of the ranker; 0 for none."""
    features: Floats | None
    """(B, L, F) zeros for none; None where nobody asks for them."""


@dataclass(slots=True)
class Ranked:
    """The scored candidates of a batch; good until the table changes."""

    ids: list[str]
    """Of the slates to be made."""
    batch: QueryBatch
    table: ItemTable
    blended: Blended
    scores: Floats
    """(B, C)"""
    version: str
    """The ranker's."""
    ranker_inputs: Inputs | None = None
    """What the ranker looked at; None where it was the blend, which needs nothing more."""
    ruled: Ruled | None = None
    """What the strategy's rules make of the candidates; None where it has none."""
    cold: ColdPool | None = None
    """Cold items that may have a place beside the candidates; None where they are candidates themselves."""

    @property
    def seeds(self) -> list[int]:
        """Seed what is drawn for each slate by its id."""
        return [int(slate_id[:16], 16) for slate_id in self.ids]

    @property
    def inputs(self) -> Inputs:
        """What a ranker may look at, whether or not one did."""
        if self.ranker_inputs is None:
            self.ranker_inputs = inputs_of(self.batch, self.table, self.blended)
        return self.ranker_inputs

    def at(self, positions: Int32s, *, featurised: bool = False) -> Chosen:
        """Return the candidates at (B, L) positions of the candidates' lists, cold items behind them, -1 for none.

        Parameters
        ----------
        featurised
            Whether what a ranker looks at of them is asked for.
        """
        blended, scores = Blended.empty(*positions.shape), np.zeros(positions.shape)
        cold = self.cold.rows if self.cold is not None else np.empty((len(positions), 0), np.int32)
        _take(positions, self.blended, self.scores, cold, blended, scores)
        return Chosen(blended, scores, self._features_at(positions, blended) if featurised else None)

    def _features_at(self, positions: Int32s, blended: Blended) -> Floats:
        """Return the (B, L, F) features of candidates; where no ranker has looked at all, only theirs are computed."""
        if self.ranker_inputs is None or (positions >= self.scores.shape[1]).any():
            return featurise(self.batch, self.table, blended)
        known = self.ranker_inputs.features
        taken: Floats = np.take_along_axis(known, np.maximum(positions, 0)[:, :, None], axis=1)
        taken[positions < 0] = 0
        return taken


def inputs_of(batch: QueryBatch, table: ItemTable, blended: Blended) -> Inputs:
    """Gather what a ranker may look at: features, and ids of what is known."""
    return Inputs(
        featurise(batch, table, blended),
        _hashes_of(blended.rows, table),
        batch.users,
        _hashes_of(batch.history.rows[:, :N_HISTORY], table),
    )


def _hashes_of(rows: Int32s, table: ItemTable) -> Int64s:
    """Return the hashes of (B, K) rows; 0 for none."""
    hashes = np.zeros(rows.shape, np.int64)
    _read_hashes(rows, table.hashes, hashes)
    return hashes


@kernel
def _read_hashes(rows: Int32s, item_hashes: Int64s, hashes: Int64s) -> None:
    """Write the (B, K) hashes of the rows, of (N,); nothing for -1."""
    for b in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            if rows[b, k] >= 0:
                hashes[b, k] = item_hashes[rows[b, k]]


@kernel
def _take(
    positions: Int32s,  # (B, L) -1 for none
    blended: Blended,  # (B, C)
    scores: Floats,  # (B, C)
    cold: Int32s,  # (B, P) rows behind the candidates, of which nothing else is known
    taken: Blended,  # (B, L) written over what is empty
    taken_scores: Doubles,  # (B, L) written
) -> None:
    """Copy the candidates at these positions."""
    for b in range(positions.shape[0]):
        for p in range(positions.shape[1]):
            c = positions[b, p]
            if c < 0:
                break
            if c >= scores.shape[1]:
                taken.rows[b, p] = cold[b, c - scores.shape[1]]
                continue
            taken.rows[b, p], taken.scores[b, p] = blended.rows[b, c], blended.scores[b, c]
            taken.top_source[b, p] = blended.top_source[b, c]
            taken_scores[b, p] = scores[b, c]
            for s in range(blended.source_scores.shape[2]):
                taken.source_scores[b, p, s] = blended.source_scores[b, c, s]
                taken.source_ranks[b, p, s] = blended.source_ranks[b, c, s]
