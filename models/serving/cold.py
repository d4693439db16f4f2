"""Cold items, which few were shown and few acted on: a place for one of them, and a bound for those never tried.

Untried are those of them that nobody has acted on. Only these are bounded, since whoever writes the catalog can make as
many as they like; one that somebody has acted on is a candidate like any other, for else a catalog of rare items would
have none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.candidates.blend import Blended, blend
from models.candidates.next_in_sequence import users_of
from models.candidates.selection import Allowed, mark, unmark, usable
from models.features.history import add_up_contents, likeness
from models.items import ItemTable
from models.items.columns import LONG
from models.numeric.arrays import Bools, Floats, Int8s, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch
from models.query.users import Histories
from models.serving.draws import random, write_logits
from models.serving.filling import ColdPool
from models.user.query import Query

N_POOLED = 256
"""Cold items that a place is drawn from at most, themselves drawn, each as probably as any other."""
_STREAM = 0xC01D
"""Sets these draws apart from the others of the same slate."""


def is_budgeted(query: Query) -> bool:
    """Say whether cold items have places of their own on a query's slate, and no others."""
    return query.strategy.cold_share > 0 and not query.query and query.candidates is None


def bound_untried(blended: Blended, batch: QueryBatch, table: ItemTable) -> Blended:
    """Leave each query its best untried candidates, one less than `cold_most`; the others' places are filled again.

    The sources are asked once more, without untried items, where a query has more of them: only then does it cost.
    """
    untried, most = table.derived("untried", lambda: _untried(table)), batch.strategy.cold_most - 1
    are_untried = untried[blended.rows] & (blended.rows >= 0)  # (B, C)
    n_before = are_untried.cumsum(axis=1)
    flooded = n_before[:, -1] > most
    if not flooded.any():
        return blended
    n = blended.rows.shape[1]
    hidden = untried if batch.hidden is None else untried | batch.hidden
    tried = blend(replace(batch, hidden=hidden), table, n)
    kept = are_untried & (n_before <= most)
    # The untried ones that stay, then the tried ones: (B, 2 C), of which the first C that there are stand by score.
    rows = np.concatenate([np.where(kept, blended.rows, -1), tried.rows], axis=1)
    stays = np.argsort(rows < 0, axis=1, kind="stable")[:, :n]
    scores = np.concatenate([blended.scores, tried.scores], axis=1)
    scores = np.take_along_axis(np.where(rows < 0, -1, scores), stays, axis=1)
    stays = np.take_along_axis(stays, np.argsort(-scores, axis=1, kind="stable"), axis=1)
    bounded = Blended(*(_taken(getattr(blended, part), getattr(tried, part), stays) for part in Blended._fields))
    bounded.rows[np.take_along_axis(rows, stays, axis=1) < 0] = -1
    for part in Blended._fields:
        getattr(bounded, part)[~flooded] = getattr(blended, part)[~flooded]
    return bounded


def _taken(first: NDArray[Any], second: NDArray[Any], positions: Int64s) -> NDArray[Any]:
    """Take the (B, C) positions of two lists laid end to end, of shape (B, C) or (B, C, S) each."""
    both = np.concatenate([first, second], axis=1)
    return np.take_along_axis(both, positions.reshape(*positions.shape, *(1,) * (first.ndim - 2)), axis=1)


def pool_of(batch: QueryBatch, table: ItemTable, seeds: Sequence[int], are_short: Bools) -> ColdPool:
    """Toss for each slate whether it has a place for a cold item, and find some for those that have, or are short.

    How well an item fits is its logit by the sequence model, where one serves and has read the user; else the cosine of
    its content and the sum of the user's last 15 items' contents.

    Parameters
    ----------
    seeds : (B,) one a slate; the same seed gives the same pool.
    are_short : (B,) whether there may be fewer candidates than positions.
    """
    state = np.array(seeds, np.uint64) ^ np.uint64(_STREAM)
    rows = np.full((batch.n, N_POOLED), -1, np.int32)
    has_place = np.zeros(batch.n, np.bool_)
    acts = batch.strategy.cold_acts
    ring = table.derived(("cold", acts), lambda: _ring(acts, table))
    _fill_pools(ring, state, batch.strategy.cold_share, are_short, Allowed.of(batch, table), has_place, rows)
    fits = np.zeros(rows.shape, np.float32)
    _compare(rows, batch.history, table.vectors, fits)
    _ask_sequence_model(rows, batch, table, fits)
    logits = np.zeros(rows.shape, np.float32)
    _scale(rows, fits, batch.strategy.exploration_temperature, logits)
    return ColdPool(rows, logits, has_place)


def _untried(table: ItemTable) -> Bools:
    """(N,) whether each item was neither shown often nor ever acted on."""
    untried: Bools = ~table.graduated[: table.n] & (table.first_seen_at[: table.n] == 0)
    return untried


def _ring(acts: float, table: ItemTable) -> Int32s:
    """(R,) rows of the cold items that may be shown to anybody, by their hashes: rows differ between processes."""
    are_cold = ~table.graduated[: table.n] & (table.popularity[: table.n, LONG] < acts)
    rows = np.flatnonzero(are_cold & usable(table).view(np.bool_)).astype(np.int32)
    return rows[np.argsort(table.hashes[rows])]


@kernel
def _fill_pools(
    ring: Int32s,  # (R,)
    state: NDArray[np.uint64],  # (B,) moved on
    share: float,
    are_short: Bools,  # (B,)
    allowed: Allowed,
    has_place: Bools,  # (B,) written
    rows: Int32s,  # (B, P) written over -1
) -> None:
    """Toss, and take the cold items from a drawn place of the ring on that the query may be shown."""
    for b in range(len(rows)):
        has_place[b] = random(state[b : b + 1]) < share
        if not (has_place[b] or are_short[b]):
            continue
        mark(allowed, b)
        first, n = int(random(state[b : b + 1]) * len(ring)), 0
        for step in range(len(ring)):
            row = ring[(first + step) % len(ring)]
            if n == rows.shape[1]:
                break
            if allowed.flags[row] == allowed.eligible:
                rows[b, n] = row
                n += 1
        unmark(allowed, b)


@kernel
def _compare(rows: Int32s, history: Histories, vectors: Int8s, fits: Floats) -> None:
    """Write the cosines of (B, P) items' contents, of (N, D), with what each user did last."""
    content = np.empty(vectors.shape[1], np.int32)
    for b in range(len(rows)):
        scale = add_up_contents(history, b, vectors, content)
        for p in range(rows.shape[1]):
            if rows[b, p] >= 0:
                fits[b, p] = likeness(vectors, rows[b, p], content, scale)


def _ask_sequence_model(rows: Int32s, batch: QueryBatch, table: ItemTable, fits: Floats) -> None:
    """Write (B, P) logits over the cosines, for users of whom a model has read something."""
    if (learned := table.learned) is None:
        return
    users, vectors = users_of(batch, table, learned), learned.of(table)
    for b in np.flatnonzero((rows[:, 0] >= 0) & (users.lengths > 0)).tolist():
        n = int((rows[b] >= 0).sum())
        fits[b, :n] = learned.encoder.logits(users.vectors[b : b + 1], vectors[rows[b, :n]])[0]


@kernel
def _scale(rows: Int32s, fits: Floats, temperature: float, logits: Floats) -> None:
    """Write the (B, P) logits of a softmax over each query's fits."""
    for b in range(len(rows)):
        n = 0
        while n < rows.shape[1] and rows[b, n] >= 0:
            n += 1
        write_logits(fits[b, :n], temperature, logits[b, :n])
