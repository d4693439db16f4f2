"""Content: what carries the attributes a user likes, or matches a search; the way in for new items."""

from dataclasses import dataclass

import numpy as np

from models.candidates.protocol import Candidates
from models.candidates.scratch import scratch
from models.candidates.selection import MARKED, USABLE, mark, select_top, unmark
from models.candidates.text_search import search
from models.items import ItemTable
from models.names import SourceName
from models.numeric.arrays import Bytes, Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import kernel
from models.query.batch import QueryBatch

N_STRONGEST = 8
"""Attributes of a user that are looked up."""


class Content:
    """Items with the user's strongest attributes: of each, the newest 32 and the most popular 32.

    taste(a) = (moment(a) / max |moment| + habit(a) / max |habit|) * idf(a), idf(a) = ln((1 + N) / (1 + n_a)),
    and score(j) = sum of taste(a) over the 8 strongest a in whose lists j stands. A user without interests is
    taken to like what they look at. A query with a search text is answered by the text alone (`text_search`).
    """

    name: SourceName = "content"

    def generate(self, batch: QueryBatch, table: ItemTable, states: Bytes, found: Candidates) -> None:
        """Propose items by taste, or by the search text where there is one."""
        strongest = batch.derived("strongest tastes", lambda: _strongest(batch, table))
        if batch.own:
            _score_marked(
                strongest.tastes,
                strongest.attributes,
                table.attributes,
                batch.marks.starts,
                batch.marks.rows,
                table.hashes,
                states,
                found.rows,
                found.scores,
            )
        else:
            _collect(
                strongest.tastes,
                strongest.postings,
                table.postings.newest,
                table.postings.popular,
                batch.marks.starts,
                batch.marks.rows,
                table.hashes,
                states,
                scratch(table.n).sums,
                found.rows,
                found.scores,
            )
        search(batch, table, states, found)

    def causes(self, batch: QueryBatch, table: ItemTable, rows: Int32s) -> Int64s:
        """Name the attribute (its hash) that the user likes most in each; -1 for a search."""
        causes = np.full(rows.shape, -1, np.int64)
        strongest = batch.derived("strongest tastes", lambda: _strongest(batch, table))
        _liked_most(strongest.tastes, strongest.attributes, table.attributes, rows, causes)
        causes[[b for b, query in enumerate(batch.queries) if query.query]] = -1
        return causes


@dataclass(frozen=True, slots=True)
class _Strongest:
    """(B, 8) each query's strongest attributes, strongest first."""

    attributes: Hash32s
    """0 none."""
    postings: Int32s
    """-1 none."""
    tastes: Floats
    """Above 0; 0 where there is none."""


def _strongest(batch: QueryBatch, table: ItemTable) -> _Strongest:
    """Pick the attributes that are looked up."""
    interests = batch.interests
    postings = table.postings.numbers_of(interests.attributes)
    shape = (batch.n, N_STRONGEST)
    strongest = _Strongest(np.zeros(shape, np.uint32), np.full(shape, -1, np.int32), np.zeros(shape, np.float32))
    _pick_strongest(
        interests.starts,
        interests.attributes,
        interests.weights,
        postings,
        table.postings.n_items,
        table.n,
        strongest.attributes,
        strongest.postings,
        strongest.tastes,
    )
    return strongest


@kernel
def _pick_strongest(
    starts: Int64s,  # (B + 1,)
    attributes: Hash32s,  # (M,)
    interests: Floats,  # (M, 2)
    postings: Int32s,  # (M,)
    posting_n: Int32s,  # (P,)
    n_items: int,
    out_attributes: Hash32s,  # (B, 8)
    out_postings: Int32s,  # (B, 8)
    out_tastes: Floats,  # (B, 8)
) -> None:
    """Insert each taste above 0 into its query's short list, ties by the attribute's hash."""
    last = out_tastes.shape[1] - 1
    for b in range(len(starts) - 1):
        moment = np.float32(0)
        habit = np.float32(0)
        for m in range(starts[b], starts[b + 1]):
            moment = max(moment, abs(interests[m, 0]))
            habit = max(habit, abs(interests[m, 1]))
        for m in range(starts[b], starts[b + 1]):
            if postings[m] < 0:
                continue
            taste = np.float32(0)
            if moment > 0:
                taste += interests[m, 0] / moment
            if habit > 0:
                taste += interests[m, 1] / habit
            taste *= np.float32(np.log((1 + n_items) / (1 + posting_n[postings[m]])))
            if taste <= 0 or taste < out_tastes[b, last]:
                continue
            if taste == out_tastes[b, last] and attributes[m] > out_attributes[b, last]:
                continue
            p = last
            while p > 0 and (
                taste > out_tastes[b, p - 1]
                or (taste == out_tastes[b, p - 1] and attributes[m] < out_attributes[b, p - 1])
            ):
                out_tastes[b, p] = out_tastes[b, p - 1]
                out_attributes[b, p] = out_attributes[b, p - 1]
                out_postings[b, p] = out_postings[b, p - 1]
                p -= 1
            out_tastes[b, p] = taste
            out_attributes[b, p] = attributes[m]
            out_postings[b, p] = postings[m]


@kernel
def _collect(
    tastes: Floats,  # (B, 8)
    postings: Int32s,  # (B, 8)
    newest: Int32s,  # (P, 32)
    popular: Int32s,  # (P, 32)
    mark_starts: Int64s,
    mark_rows: Int32s,
    hashes: Int64s,
    states: Bytes,
    sums: Floats,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    """Add up the tastes over the attributes' lists; an item in both lists of an attribute counts once.

    The upper bits of an item's state hold the last attribute that reached it, plus 1.
    """
    width = newest.shape[1]
    pool_rows = np.empty(2 * width * tastes.shape[1], np.int32)
    pool_scores = np.empty(2 * width * tastes.shape[1], np.float32)
    for b in range(tastes.shape[0]):
        mark(states, mark_rows, mark_starts[b], mark_starts[b + 1])
        n = 0
        for p in range(tastes.shape[1]):
            posting = postings[b, p]
            if tastes[b, p] <= 0 or posting < 0:
                continue
            for t in range(2 * width):
                row = newest[posting, t] if t < width else popular[posting, t - width]
                if row < 0:
                    continue
                state = states[row]
                if state & 3 != USABLE or state >> 2 == p + 1:
                    continue
                if state >> 2 == 0:
                    pool_rows[n] = row
                    n += 1
                states[row] = USABLE | ((p + 1) << 2)
                sums[row] += tastes[b, p]
        for i in range(n):
            pool_scores[i] = sums[pool_rows[i]]
            sums[pool_rows[i]] = 0
            states[pool_rows[i]] = USABLE
        kept = select_top(pool_rows, pool_scores, n, out_rows.shape[1], hashes)
        for i in range(kept):
            out_rows[b, i] = pool_rows[i]
            out_scores[b, i] = pool_scores[i]
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])


@kernel
def _score_marked(
    tastes: Floats,  # (B, 8)
    attributes: Hash32s,  # (B, 8)
    item_attributes: Hash32s,  # (N, 8)
    mark_starts: Int64s,
    mark_rows: Int32s,
    hashes: Int64s,
    states: Bytes,
    out_rows: Int32s,  # (B, n)
    out_scores: Floats,  # (B, n)
) -> None:
    """Score each query's own candidates, once each, whether or not they stand in a list."""
    pool_rows = np.empty(len(mark_rows), np.int32)
    pool_scores = np.empty(len(mark_rows), np.float32)
    for b in range(tastes.shape[0]):
        n = 0
        for m in range(mark_starts[b], mark_starts[b + 1]):
            row = mark_rows[m]
            if states[row] != USABLE:
                continue
            states[row] |= MARKED
            score = np.float32(0)
            for p in range(tastes.shape[1]):
                for a in range(item_attributes.shape[1]):
                    if tastes[b, p] > 0 and item_attributes[row, a] == attributes[b, p]:
                        score += tastes[b, p]
            if score > 0:
                pool_rows[n] = row
                pool_scores[n] = score
                n += 1
        kept = select_top(pool_rows, pool_scores, n, out_rows.shape[1], hashes)
        for i in range(kept):
            out_rows[b, i] = pool_rows[i]
            out_scores[b, i] = pool_scores[i]
        unmark(states, mark_rows, mark_starts[b], mark_starts[b + 1])


@kernel
def _liked_most(
    tastes: Floats,  # (B, 8)
    attributes: Hash32s,  # (B, 8) strongest first
    item_attributes: Hash32s,  # (N, 8)
    rows: Int32s,  # (B, K)
    causes: Int64s,  # (B, K) written
) -> None:
    for b in range(rows.shape[0]):
        for k in range(rows.shape[1]):
            for p in range(tastes.shape[1]):
                if rows[b, k] < 0 or tastes[b, p] <= 0 or causes[b, k] >= 0:
                    break
                for a in range(item_attributes.shape[1]):
                    if item_attributes[rows[b, k], a] == attributes[b, p]:
                        causes[b, k] = np.int64(attributes[b, p])
