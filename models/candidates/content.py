"""Content: what carries the attributes a user likes, or matches a search; the way in for new items."""

from typing import NamedTuple

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import MARKED, USABLE, Allowed, Candidates, mark, propose, take_sums, unmark
from models.candidates.text_search import search
from models.items import ItemTable
from models.numeric.arrays import Floats, Hash32s, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.phrases import Why
from models.query.batch import QueryBatch
from models.query.ragged import Tastes
from models.query.users import LONG, SHORT

N_STRONGEST = 8
"""Attributes of a user that are looked up."""
SEARCH = -2
"""The cause of an item that matches a search text."""
_BOTH = USABLE | MARKED
_REACHED = np.uint8(2)
"""Where in an item's byte, above both flags, the last attribute that reached it stands, plus 1, during one query."""


class Content(CandidateSource):
    """Items with the user's strongest attributes: of each, the newest 32 and the most popular 32.

    taste(a) = (short(a) / max |short| + long(a) / max |long|) * idf(a), where short(a) and long(a) are the user's
    short-term and long-term interest in the attribute and idf(a) = ln((1 + N) / (1 + n_a)); score(j) = sum of taste(a)
    over the 8 strongest a in whose lists j stands. A user without interests is taken to like the item that they look
    at. A query with a search text is answered by the text alone (`text_search`).
    """

    name = "content"
    reason = "taste"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose items by taste, or by the search text where there is one."""
        strongest = _strongest_of(batch, table)
        if batch.own:
            _score_own(strongest, table.attributes, allowed, found)
        else:
            _collect(strongest, table.postings.newest, table.postings.popular, allowed, scratch(table.n).sums, found)
        search(batch, table, allowed, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the attribute (its hash) that the user likes most in each; SEARCH where the text led to it."""
        searched = [b for b, query in enumerate(batch.queries) if query.query]
        by_taste = rows
        if searched:
            by_taste = rows.copy()
            by_taste[searched] = -1
            causes[searched] = np.where(rows[searched] >= 0, SEARCH, causes[searched])
        _explain(_strongest_of(batch, table), table.attributes, by_taste, causes)

    def why(self, table: ItemTable, cause: int) -> Why:
        """Name the attribute, or the search."""
        if cause == SEARCH:
            return Why("search")
        name = table.attribute_name(cause) if cause >= 0 else ""
        return Why(self.reason, name or None, name)


class _Strongest(NamedTuple):
    """Each query's strongest attributes, strongest first."""

    attributes: Hash32s
    """(B, 8) 0 none."""
    postings: Int32s
    """(B, 8) numbers of their lists, -1 none."""
    tastes: Floats
    """(B, 8) above 0; 0 where there is none."""


def _strongest_of(batch: QueryBatch, table: ItemTable) -> _Strongest:
    return batch.derived("strongest tastes", lambda: _pick_strongest(batch, table))


def _pick_strongest(batch: QueryBatch, table: ItemTable) -> _Strongest:
    """Pick the attributes that are looked up."""
    shape = (batch.n, N_STRONGEST)
    strongest = _Strongest(np.zeros(shape, np.uint32), np.full(shape, -1, np.int32), np.zeros(shape, np.float32))
    postings = table.postings.numbers_of(batch.interests.attributes)
    _insert_tastes(batch.interests, postings, table.postings.n_items, table.n, strongest)
    return strongest


@kernel
def _insert_tastes(
    interests: Tastes,
    postings: Int32s,  # (M,) numbers of the interests' lists, -1 none
    posting_n: Int32s,  # (P,) items that carry each list's attribute
    n_items: int,
    strongest: _Strongest,  # written
) -> None:
    """Insert each taste above 0 into its query's short list, ties by the attribute's hash."""
    for b in range(len(interests.starts) - 1):
        first, end = interests.starts[b], interests.starts[b + 1]
        most_short, most_long = np.float32(0), np.float32(0)
        for m in range(first, end):
            most_short = max(most_short, abs(interests.weights[m, SHORT]))
            most_long = max(most_long, abs(interests.weights[m, LONG]))
        for m in range(first, end):
            if postings[m] < 0:
                continue
            taste = np.float32(0)
            if most_short > 0:
                taste += interests.weights[m, SHORT] / most_short
            if most_long > 0:
                taste += interests.weights[m, LONG] / most_long
            taste *= np.float32(np.log((1 + n_items) / (1 + posting_n[postings[m]])))
            if taste > 0:
                _insert(strongest, b, interests.attributes[m], postings[m], taste)


@inline
def _insert(strongest: _Strongest, b: int, attribute: int, posting: int, taste: np.float32) -> None:
    """Insert a taste where it belongs in query b's short list, if it does."""
    attributes, postings, tastes = strongest.attributes[b], strongest.postings[b], strongest.tastes[b]
    p = len(tastes)
    while p > 0 and (taste > tastes[p - 1] or (taste == tastes[p - 1] and attribute < attributes[p - 1])):
        p -= 1
        if p + 1 < len(tastes):
            tastes[p + 1], attributes[p + 1], postings[p + 1] = tastes[p], attributes[p], postings[p]
    if p < len(tastes):
        tastes[p], attributes[p], postings[p] = taste, attribute, posting


@kernel
def _collect(
    strongest: _Strongest,
    newest: Int32s,  # (P, 32) of each attribute's items, -1 where there are fewer
    popular: Int32s,  # (P, 32)
    allowed: Allowed,
    sums: Floats,  # (N,) cells
    found: Candidates,
) -> None:
    """Add up the tastes over the attributes' lists; an item in both lists of an attribute counts once."""
    tastes, flags = strongest.tastes, allowed.flags
    width = newest.shape[1]
    pool = np.empty(2 * width * tastes.shape[1], np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(tastes)):
        mark(allowed, b)
        n = 0
        for p in range(tastes.shape[1]):
            posting = strongest.postings[b, p]
            if tastes[b, p] <= 0 or posting < 0:
                continue
            for t in range(2 * width):
                row = newest[posting, t] if t < width else popular[posting, t - width]
                if row < 0:
                    continue
                if flags[row] & _BOTH != USABLE or flags[row] >> _REACHED == p + 1:
                    continue
                if flags[row] >> _REACHED == 0:
                    pool[n] = row
                    n += 1
                flags[row] = USABLE | ((p + 1) << _REACHED)
                sums[row] += tastes[b, p]
        for i in range(n):
            flags[pool[i]] = USABLE
        take_sums(pool, n, sums, scores)
        propose(pool, scores, n, allowed.hashes, found, b)
        unmark(allowed, b)


@kernel
def _score_own(
    strongest: _Strongest,
    item_attributes: Hash32s,  # (N, 8)
    allowed: Allowed,
    found: Candidates,
) -> None:
    """Score each query's own candidates, which are its marks, once each, whether or not they stand in a list."""
    pool = np.empty(len(allowed.mark_rows), np.int32)
    scores = np.empty(len(pool), np.float32)
    for b in range(len(strongest.tastes)):
        n = 0
        for m in range(allowed.mark_starts[b], allowed.mark_starts[b + 1]):
            row = allowed.mark_rows[m]
            if allowed.flags[row] != USABLE:
                continue
            allowed.flags[row] |= MARKED
            score = np.float32(0)
            for p in range(strongest.tastes.shape[1]):
                for a in range(item_attributes.shape[1]):
                    if strongest.tastes[b, p] > 0 and item_attributes[row, a] == strongest.attributes[b, p]:
                        score += strongest.tastes[b, p]
            if score > 0:
                pool[n] = row
                scores[n] = score
                n += 1
        propose(pool, scores, n, allowed.hashes, found, b)
        unmark(allowed, b)


@kernel
def _explain(
    strongest: _Strongest,
    item_attributes: Hash32s,  # (N, 8)
    rows: Int32s,  # (B, L)
    causes: Int64s,  # (B, L) written
) -> None:
    """Name the strongest attribute that each item carries."""
    for b in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            for p in range(strongest.tastes.shape[1]):
                if rows[b, c] < 0 or strongest.tastes[b, p] <= 0 or causes[b, c] >= 0:
                    break
                for a in range(item_attributes.shape[1]):
                    if item_attributes[rows[b, c], a] == strongest.attributes[b, p]:
                        causes[b, c] = np.int64(strongest.attributes[b, p])
