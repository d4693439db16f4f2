"""What a strategy's rules make of a batch's candidates: scores that are moved, places that are taken, quotas."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.candidates.blend import Blended
from models.candidates.selection import usable
from models.items import ItemTable
from models.numeric.arrays import Bools, Doubles, Floats, Int32s
from models.numeric.ids import hash_all
from models.numeric.sphere import distance_of, haversines
from models.query.batch import QueryBatch
from models.query.rules import Resolved, holds
from models.serving.filling import ColdPool, Reranked
from models.serving.rerank import Quotas

STEPS = 8
"""Of nearness, from nowhere near to here."""


class Pin(NamedTuple):
    """An item that has its place on a slate."""

    position: int
    candidate: int
    """Its position in the candidates' list."""
    rule: int
    """Its rule's, in the batch's rules."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """Which rules act on C candidates of B queries, and how."""

    acting: Int32s
    """(B, C) the rule that places a candidate or moves it furthest, in the batch's rules; -1 none."""
    pins: list[list[Pin]]
    """(B,) by rising position."""
    quotas: Quotas

    def names(self, reranked: Reranked, rules: Sequence[Resolved]) -> list[str | None]:
        """Name the rule of each of the (B, L) places, row by row; None where none acted."""
        n_candidates = self.acting.shape[1]
        acting = np.take_along_axis(self.acting, np.clip(reranked.positions, 0, n_candidates - 1), axis=1)
        acting[reranked.positions >= n_candidates] = -1  # cold items, which no rule moves
        return [None if rule < 0 else rules[rule].rule.name for rule in acting.ravel().tolist()]

    def placed(self, reranked: Reranked) -> Reranked:
        """Put the pinned items onto slates that were filled without them; their probability is 1."""
        n_items = reranked.n_items + np.array([len(pins) for pins in self.pins], np.int64)
        shape = (len(n_items), int(n_items.max(initial=0)))
        whole = reranked._replace(
            positions=np.full(shape, -1, np.int32),
            propensities=np.ones(shape),
            explored=np.zeros(shape, np.bool_),
            n_items=n_items,
        )
        for b, pins in enumerate(self.pins):
            n = reranked.n_items[b]
            parts = (reranked.positions, reranked.propensities, reranked.explored)
            places = list(zip(*(part[b, :n].tolist() for part in parts), strict=True))
            for pin in pins:
                places.insert(pin.position, (pin.candidate, 1.0, False))
            for position, (candidate, propensity, explored) in enumerate(places):
                whole.positions[b, position] = candidate
                whole.propensities[b, position] = propensity
                whole.explored[b, position] = explored
        return whole


def with_pinned(
    blended: Blended, batch: QueryBatch, table: ItemTable, n_items: Sequence[int]
) -> tuple[Blended, list[list[Pin]]]:
    """Let each query's candidates hold what is pinned for it: items that it may be shown, whoever proposes them.

    Parameters
    ----------
    n_items : (B,) lengths of the slates; what is pinned beyond the end has no place.
    """
    pins: list[list[Pin]] = [[] for _ in n_items]
    wanted = _pinned_rows(batch, table)
    if not wanted:
        return blended, pins
    wider = Blended(*(np.concatenate([part, _blank(part, len(wanted))], axis=1) for part in blended))
    for b, length in enumerate(n_items):
        marked = set(batch.marks.rows[batch.marks.starts[b] : batch.marks.starts[b + 1]].tolist())
        rows = wider.rows[b]
        for position, row, rule in wanted:
            if position >= length or (row in marked) != batch.own or any(pin.position == position for pin in pins[b]):
                continue
            found = np.flatnonzero(rows == row)
            candidate = int(found[0] if len(found) else (rows >= 0).sum())
            rows[candidate] = row
            pins[b].append(Pin(position, candidate, rule))
        pins[b].sort()
    return wider, pins


def _pinned_rows(batch: QueryBatch, table: ItemTable) -> list[tuple[int, int, int]]:
    """List position, row and rule of each pin whose item may be shown; of two pins of an item, the first."""
    pinning = [(index, one) for index, one in enumerate(batch.rules) if one.rule.kind == "pin"]
    if not pinning:
        return []
    rows = table.rows_of(hash_all([one.rule.item or "" for _, one in pinning]))
    flags = usable(table, batch.locked, batch.hidden)
    found: dict[int, tuple[int, int, int]] = {}
    for (index, one), row in zip(pinning, rows.tolist(), strict=True):
        if row >= 0 and flags[row] and holds(one.condition, table, np.array([row], np.int32))[0]:
            found.setdefault(row, (one.rule.position, row, index))
    return list(found.values())


def _blank(part: NDArray[Any], n: int) -> NDArray[Any]:
    """Make n columns without candidates."""
    empty = -1 if part.dtype.kind == "i" else 0
    return np.full((part.shape[0], n, *part.shape[2:]), empty, part.dtype)


def apply_rules(
    scores: Floats,
    rows: Int32s,
    pins: list[list[Pin]],
    batch: QueryBatch,
    table: ItemTable,
    cold: ColdPool | None = None,
) -> tuple[Floats, Ruled]:
    """Move scores, and say which rules act.

    A boost adds `by` standard deviations of the scores of the query's candidates, a bury takes them away; where all
    are the same, a deviation is 1. Several add up. One that goes by nearness adds as many eighths of `by` as there are.

    Parameters
    ----------
    scores, rows : (B, C) of the ranker, and of the table; -1 where there is no candidate.
    cold : items beside the candidates: quotas count them, nothing else acts on them.
    """
    rules, present = batch.rules, rows >= 0
    acting = np.full(rows.shape, -1, np.int32)
    shift, furthest = np.zeros(rows.shape), np.zeros(rows.shape)
    for index, one in enumerate(rules):
        if one.rule.kind in ("boost", "bury"):
            by = np.where(holds(one.condition, table, rows) & present, one.rule.by, 0.0)
            if one.rule.half_km is not None:
                by *= _nearness(batch.locations, table.location[rows], one.rule.half_km)
            shift += by if one.rule.kind == "boost" else -by
            further = by > furthest
            acting[further], furthest[further] = index, by[further]
    for b, pinned in enumerate(pins):
        for pin in pinned:
            acting[b, pin.candidate] = pin.rule
    moved = (scores + shift * _spread(scores, present)[:, None]).astype(np.float32)
    counted = rows if cold is None else np.concatenate([rows, cold.rows], axis=1)
    return moved, Ruled(acting, pins, _quotas(counted, pins, rules, table))


def _nearness(locations: Doubles, places: Floats, half_km: float) -> Doubles:
    """(B, C) 2^(-distance / half_km) in whole eighths, so that no score tells to the metre where a user is.

    Parameters
    ----------
    locations, places : (B, 3) of the queries, (B, C, 3) of their candidates; nan unknown, which is nowhere near.
    """
    found = np.empty(places.shape[:-1])
    for b, origin in enumerate(locations):
        haversines(origin, places[b], found[b])
    eighths: Doubles = np.round(STEPS * np.exp2(-distance_of(found) / half_km)) / STEPS
    return np.nan_to_num(eighths)


def _spread(scores: Floats, present: Bools) -> Doubles:
    """(B,) standard deviations of the candidates' scores; 1 where they are all the same."""
    n = np.maximum(present.sum(axis=1), 1)
    mean = np.where(present, scores, 0.0).sum(axis=1, dtype=np.float64) / n
    spread = np.sqrt(np.where(present, (scores - mean[:, None]) ** 2, 0.0).sum(axis=1) / n)
    return np.where(spread > 1e-7 * np.abs(mean), spread, 1.0)


def _quotas(rows: Int32s, pins: list[list[Pin]], rules: Sequence[Resolved], table: ItemTable) -> Quotas:
    """Say which candidates each quota counts, and how many may stand beside the pinned ones, which have their place."""
    quotas = [one for one in rules if one.rule.kind == "quota"]
    n_queries, n_candidates = rows.shape
    members = np.zeros((n_queries, len(quotas) + 1, n_candidates), np.bool_)
    limits = np.zeros((n_queries, len(quotas) + 1), np.int32)  # the last, of what is pinned, lets nothing else in
    for q, one in enumerate(quotas):
        members[:, q] = holds(one.condition, table, rows) & (rows >= 0)
        limits[:, q] = one.rule.most or 0
    for b, pinned in enumerate(pins):
        for pin in pinned:
            limits[b, :-1] -= members[b, :-1, pin.candidate]
            members[b, -1] |= rows[b] == rows[b, pin.candidate]
    return Quotas(members, limits)
