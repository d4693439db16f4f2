"""Trending: what people of the user's segments are after now; the floor for a user never seen."""

from itertools import accumulate

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates, add_to_pool, mark, select_top, take_sums, unmark
from models.items import ItemTable
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch

STEP = 0.5
"""What each less specific segment counts, against the one before it."""


class Trending(CandidateSource):
    """Decayed popularity in the user's segments, the most specific first.

    score(j) = sum over the segments s = 0, 1, ... of 0.5^s * w_sj / max_k w_sk. A thin segment speaks for few
    items, and the broader ones fill up behind it.
    """

    name = "trending"
    reason = "trending"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Walk down each query's list, made once for all users of the same segments until the table changes."""
        numbers: dict[tuple[int, ...], int] = {}
        groups = np.array([numbers.setdefault(query.segments, len(numbers)) for query in batch.queries], np.int32)
        lists = [_list_of(segments, table) for segments in numbers]
        starts = np.array([0, *accumulate(len(rows) for rows, _ in lists)])
        # A slate alone, and a batch of one segment, needs no copy.
        rows, scores = lists[0] if len(lists) == 1 else (np.concatenate(parts) for parts in zip(*lists, strict=True))
        _walk(groups, starts, rows, scores, allowed, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """No single item of the history is the cause."""


def _list_of(segments: tuple[int, ...], table: ItemTable) -> tuple[Int32s, Floats]:
    """Return the segments' lists as one: (T,) rows and scores, best first."""
    # One name, 0, for all segments where nothing trends: what is kept must not grow with what contexts say.
    known = tuple([segment if len(table.trending(segment)[0]) else 0 for segment in segments])
    return table.derived(("trending", known), lambda: _merged(known, table))


def _merged(segments: tuple[int, ...], table: ItemTable) -> tuple[Int32s, Floats]:
    rows, scores = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for s, segment in enumerate(segments):
        trend_rows, weights = table.trending(segment)
        if len(weights) and weights[0] > 0:
            rows.append(trend_rows)
            # Not times 1 / weights[0]: where a segment has all but decayed, that is beyond float32.
            scores.append(weights / weights[0] * np.float32(STEP**s))
    merged, totals = np.concatenate(rows), np.concatenate(scores)
    kept = _merge(merged, totals, table.hashes, scratch(table.n).sums)
    return merged[:kept], totals[:kept]


@kernel
def _merge(
    rows: Int32s,  # (T,) overwritten by the merged rows
    scores: Floats,  # (T,) overwritten by their sums
    hashes: Int64s,  # (N,)
    sums: Floats,  # (N,) cells
) -> int:
    """Add up the scores of each row and sort by them; say how many there are."""
    n = 0
    for t in range(len(rows)):
        if scores[t] > 0:
            n = add_to_pool(rows[t], scores[t], sums, rows, n)
    take_sums(rows, n, sums, scores)
    return select_top(rows, scores, n, n, hashes)


@kernel
def _walk(
    groups: Int32s,  # (B,) number of each query's list
    starts: Int64s,  # (G + 1,) list g is [starts[g], starts[g + 1])
    rows: Int32s,  # (T,)
    scores: Floats,  # (T,)
    allowed: Allowed,
    found: Candidates,
) -> None:
    """Take from each query's list what its marks let through, in order."""
    for b in range(len(groups)):
        mark(allowed, b)
        kept = 0
        for t in range(starts[groups[b]], starts[groups[b] + 1]):
            if kept == found.rows.shape[1]:
                break
            if allowed.flags[rows[t]] == allowed.eligible:
                found.rows[b, kept] = rows[t]
                found.scores[b, kept] = scores[t]
                kept += 1
        unmark(allowed, b)
