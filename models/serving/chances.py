"""The chances of each item on a slate: written on it, and what an item is worth by them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.items import ItemTable
from models.messages import LikelyItem
from models.names import STAGES, StageName
from models.numeric.arrays import Doubles, Floats, Int32s
from models.rankers.served import FunnelRanker
from models.serving.slates import Draft
from models.strategy import Worth


def with_chances(drafts: Sequence[Draft], funnel: FunnelRanker) -> None:
    """Write on each item of slates how probable its stages are, at the position where it stands."""
    told = [draft for draft in drafts if draft.features is not None and draft.slate.items]
    if not told:
        return
    features = np.concatenate([draft.features for draft in told if draft.features is not None])[None]  # (1, M, F)
    positions = np.array([[item.position for draft in told for item in draft.slate.items]], np.int64)
    chances = iter(funnel.chances(features, positions)[0].round(6).tolist())  # (S,) an item
    for draft in told:
        draft.slate.items = [LikelyItem(**item.__dict__ | _named(next(chances))) for item in draft.slate.items]


def _named(chances: list[float]) -> dict[str, Any]:
    return {f"p_{stage}": chance for stage, chance in zip(STAGES, chances, strict=True)}


def worth_of(chances: Floats, rows: Int32s, table: ItemTable, worth: Mapping[StageName, Worth]) -> Floats:
    """Say what it is worth to show each candidate: the sum of weight, probability and value over the stages.

    Parameters
    ----------
    chances : (B, C, S)
    rows : (B, C) of the table, -1 where there is no candidate.
    worth : what stages count for. An act is worth 1, or the item's price or margin; where the catalog does not say
        that, as much as the query's other candidates on average, and 1 where it says it of none.

    Returns
    -------
    (B, C)
    """
    total = np.zeros(rows.shape)
    for stage, counts in worth.items():
        total += counts.weight * chances[..., STAGES.index(stage)] * _values(rows, table, counts)
    return total.astype(np.float32)


def _values(rows: Int32s, table: ItemTable, counts: Worth) -> Doubles:
    """Return what an act on each candidate is worth: (B, C)."""
    if counts.per == "act":
        return np.ones(rows.shape)
    column = table.price if counts.per == "price" else table.margin
    values = np.where(rows >= 0, column[rows], np.nan).astype(np.float64)
    known = ~np.isnan(values)
    n_known = known.sum(axis=1, keepdims=True)
    means = np.where(n_known, np.where(known, values, 0.0).sum(axis=1, keepdims=True) / np.maximum(n_known, 1), 1.0)
    return np.where(known, values, means)
