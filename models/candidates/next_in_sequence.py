"""Next in sequence: what a sequence model expects after the user's acts, among all items that it has learned of."""

from typing import NamedTuple

import numpy as np

from models.candidates.protocol import CandidateSource
from models.candidates.selection import Allowed, Candidates, mark, select_top, unmark
from models.items import ItemTable
from models.items.learned import Inverted, LearnedVectors
from models.numeric.arrays import Bools, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel
from models.query.batch import QueryBatch
from models.query.users import Histories

MOST_LOGITS = 1 << 22
"""Logits that are held at once, 16 MB: a large catalog is gone through for a few queries at a time."""
N_LOOKED_AT = 4_096
"""Items that are looked at for a query where an inverted file leads to them: of 100,000, 96% of the best hundred."""


class NextInSequence(CandidateSource):
    """The items of the largest products h . v_j (`models.sequence.network`): of all items, where there are few.

    Else of those lists of an inverted file whose centres have the largest products, until enough items that may be
    shown have been looked at; so rules that hide many do not leave a slate empty.

    score(j) = 1 / (1 + max_k h . v_k - h . v_j): by how much its log-odds to be next fall short of the best one's.
    """

    name = "sequence"
    reason = "follows"

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:
        """Propose what comes next; nothing where no model serves, or of the user's acts none is known to it."""
        if (learned := table.learned) is None:
            return
        vectors, users = learned.of(table), users_of(batch, table, learned)
        if (inverted := learned.inverted(table)) is not None:
            by_list = learned.encoder.logits(users.vectors, inverted.lists.centers)
            of_newer = learned.encoder.logits(users.vectors, vectors[inverted.newer])
            _propose_by_lists(users, by_list, of_newer, inverted, vectors, allowed, found)
            return
        at_once = max(1, MOST_LOGITS // max(table.n, 1))
        for first in range(0, batch.n, at_once):
            logits = learned.encoder.logits(users.vectors[first : first + at_once], vectors)
            _propose(logits, first, users.lengths, learned.known(table), allowed, found)

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None:
        """Name the act whose item is most like the candidate."""
        if (learned := table.learned) is not None:
            _name_likest(rows, users_of(batch, table, learned), learned.of(table), causes)


class ReadUsers(NamedTuple):
    """B users as the model has read them."""

    vectors: Floats
    """(B, D) zero where it could read nothing."""
    acts: Int32s
    """(B, T) rows of the items that were read, oldest first, padded behind."""
    lengths: Int64s
    """(B,)"""


def users_of(batch: QueryBatch, table: ItemTable, learned: LearnedVectors) -> ReadUsers:
    """Let the model read each user's newest acts."""
    return batch.derived("users by sequence", lambda: _read(batch, table, learned))


def _read(batch: QueryBatch, table: ItemTable, learned: LearnedVectors) -> ReadUsers:
    encoder, vectors = learned.encoder, learned.of(table)
    shape = batch.n, encoder.n_recent
    users = ReadUsers(
        np.zeros((batch.n, encoder.n_dimensions), np.float32), np.zeros(shape, np.int32), np.zeros(batch.n, np.int64)
    )
    at = np.zeros(shape, np.int64)
    _lay_out(batch.history, vectors, users, at)
    width, some = int(users.lengths.max(initial=0)), np.flatnonzero(users.lengths)
    if width:
        acts = vectors[users.acts[some, :width]]  # (B, T, D)
        users.vectors[some] = encoder.user_vectors(acts, at[some, :width], users.lengths[some])
    return users


@kernel
def _lay_out(history: Histories, vectors: Floats, users: ReadUsers, at: Int64s) -> None:
    """Write the newest acts that the model knows, oldest first; (N, D) vectors are zero where it knows nothing."""
    most = users.acts.shape[1]
    for b in range(len(history.rows)):
        kept = np.empty(most, np.int32)
        n = 0
        for r in range(history.rows.shape[1]):
            row = history.rows[b, r]
            if n < most and row >= 0 and history.weights[b, r] > 0 and vectors[row].any():
                kept[n] = r
                n += 1
        for p in range(n):
            r = kept[n - 1 - p]
            users.acts[b, p] = history.rows[b, r]
            at[b, p] = history.at[b, r]
        users.lengths[b] = n


@kernel
def _propose(
    logits: Floats,  # (A, N) of the queries from `first` on
    first: int,
    lengths: Int64s,  # (B,)
    known: Bools,  # (N,)
    allowed: Allowed,
    found: Candidates,
) -> None:
    """Write each query's largest logits."""
    n_items = logits.shape[1]
    rows, scores = np.empty(n_items, np.int32), np.empty(n_items, np.float32)
    for a in range(len(logits)):
        b = first + a
        if lengths[b] == 0:
            continue
        mark(allowed, b)
        n = 0
        for j in range(n_items):
            # Written for every item, counted for some: no branch to mispredict.
            rows[n], scores[n] = j, logits[a, j]
            n += known[j] and allowed.flags[j] == allowed.eligible
        unmark(allowed, b)
        _write(rows, scores, n, allowed, found, b)


@inline
def _write(rows: Int32s, logits: Floats, n: int, allowed: Allowed, found: Candidates, b: int) -> None:
    """Write the largest of the first n logits as query b's candidates."""
    kept = select_top(rows, logits, n, found.rows.shape[1], allowed.hashes)
    for p in range(kept):
        found.rows[b, p] = rows[p]
        found.scores[b, p] = np.float32(1) / (np.float32(1) + logits[0] - logits[p])


@kernel
def _propose_by_lists(
    users: ReadUsers,
    by_list: Floats,  # (B, L) products with the centres
    of_newer: Floats,  # (B, M) logits of items that the file does not know
    inverted: Inverted,
    vectors: Floats,  # (N, D)
    allowed: Allowed,
    found: Candidates,
) -> None:
    """Write the largest logits among newer items and those of the nearest lists."""
    lists, n_lists = inverted.lists, by_list.shape[1]
    rows = np.empty(len(lists.rows) + len(inverted.newer), np.int32)
    logits = np.empty(len(rows), np.float32)
    numbers = np.arange(n_lists)
    nearest, nearness = np.empty(n_lists, np.int32), np.empty(n_lists, np.float32)
    some = min(n_lists, 4 + 2 * N_LOOKED_AT * n_lists // max(len(lists.rows), 1))
    for b in range(len(by_list)):
        if users.lengths[b] == 0:
            continue
        mark(allowed, b)
        n = 0
        for m in range(len(inverted.newer)):
            rows[n], logits[n] = inverted.newer[m], of_newer[b, m]
            n += allowed.flags[rows[n]] == allowed.eligible
        n_newer, place, n_sorted = n, 0, 0
        while n - n_newer < N_LOOKED_AT and place < n_lists:
            if place == n_sorted:  # some lists are enough for most queries: sorting all takes longer than going on
                n_sorted = some if place == 0 else n_lists
                for number in range(n_lists):
                    nearest[number], nearness[number] = number, by_list[b, number]
                select_top(nearest, nearness, n_lists, n_sorted, numbers)
            n = _look_through(nearest[place], users.vectors[b], inverted, allowed, rows, logits, n)
            place += 1
        unmark(allowed, b)
        # Bytes lead to the best, which are then scored as all others are.
        kept = select_top(rows, logits, n, found.rows.shape[1], allowed.hashes)
        for p in range(kept):
            logits[p] = _product(users.vectors[b], vectors[rows[p]])
        _write(rows, logits, kept, allowed, found, b)


@inline
def _look_through(
    number: int, user: Floats, inverted: Inverted, allowed: Allowed, rows: Int32s, logits: Floats, n: int
) -> int:
    """Put a list's items behind the first n of a pool, where they may be shown; say how many there are then."""
    lists = inverted.lists
    start, end = lists.starts[number], lists.starts[number + 1]
    size, n_dimensions = end - start, len(user)
    block = lists.blocks[start * n_dimensions : end * n_dimensions]
    products = np.zeros(size, np.float32)
    for d in range(n_dimensions):
        weight, column = user[d], block[d * size : (d + 1) * size]
        for i in range(size):
            products[i] += weight * np.float32(column[i])
    for i in range(size):
        row = lists.rows[start + i]
        rows[n], logits[n] = row, products[i] * lists.scales[start + i]
        n += inverted.made_in[row] <= inverted.generation and allowed.flags[row] == allowed.eligible
    return n


@inline
def _product(a: Floats, b: Floats) -> float:
    """Multiply two vectors."""
    product = np.float32(0)
    for d in range(len(a)):
        product += a[d] * b[d]
    return float(product)


@kernel
def _name_likest(
    rows: Int32s,  # (B, L)
    users: ReadUsers,
    vectors: Floats,  # (N, D)
    causes: Int64s,  # (B, L) written
) -> None:
    """Write, of the acts that were read, the one whose item has the largest cosine with the candidate."""
    for b in range(len(rows)):
        for p in range(rows.shape[1]):
            if rows[b, p] < 0:
                continue
            most = np.float32(-np.inf)
            for act in users.acts[b, : users.lengths[b]]:
                likeness = _cosine(vectors[act], vectors[rows[b, p]])
                if likeness > most:
                    causes[b, p] = act
                    most = likeness


@inline
def _cosine(one: Floats, other: Floats) -> np.float32:
    """Return the cosine of two (D,) vectors, neither of them zero."""
    product = one_squared = other_squared = np.float32(0)
    for d in range(len(one)):
        product += one[d] * other[d]
        one_squared += one[d] * one[d]
        other_squared += other[d] * other[d]
    return np.float32(product / np.sqrt(one_squared * other_squared))
