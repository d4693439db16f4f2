"""Helpers that every candidate kernel shares: who may be shown, and the best n of a small pool."""

from typing import NamedTuple

import numpy as np

from models.items import ItemTable
from models.numeric.arrays import Bools, Bytes, Floats, Int32s, Int64s
from models.numeric.kernels import inline
from models.query.batch import QueryBatch

USABLE = np.uint8(1)
"""Flag of an item that anybody may be shown."""
MARKED = np.uint8(2)
"""Flag of an item that the running query names: one that it may not get, or one of its own candidates."""
_BUCKETS = 256
_COUNTED = 200
"""Up to this many ties are sorted by counting, for each, how many come before it."""


class Candidates(NamedTuple):
    """The n items at most that one source proposes to each of B queries."""

    rows: Int32s
    """(B, n) best first, ties by the item's hash; -1 where there is no more."""
    scores: Floats
    """(B, n) above 0 in the source's own units; 0 where there is no item."""


class Allowed(NamedTuple):
    """Which of N items may be proposed to each of B queries."""

    flags: Bytes
    """(N,) USABLE or 0; a kernel adds MARKED for one query after the other, and takes it away again."""
    eligible: int
    """The flags of an item that a query may get, while its marks are set."""
    mark_starts: Int64s
    """(B + 1,)"""
    mark_rows: Int32s
    """(M,) the marks of query b are [mark_starts[b], mark_starts[b + 1])."""
    hashes: Int64s
    """(N,) by which ties are broken."""

    @classmethod
    def of(cls, batch: QueryBatch, table: ItemTable) -> "Allowed":
        """Take the table's items and the batch's marks."""
        eligible = int(USABLE | MARKED) if batch.own else int(USABLE)
        return cls(
            usable(table, batch.locked, batch.hidden), eligible, batch.marks.starts, batch.marks.rows, table.hashes
        )


def usable(table: ItemTable, locked: Int32s | None = None, hidden: Bools | None = None) -> Bytes:
    """Say which items may be shown to anybody, as (N,) flags: 1 or 0.

    Those are available, known by their id, not locked (L,) and not hidden (N,); once there is a catalog, only those in
    it: what it no longer holds was removed, though rows about it may still stand.
    """
    flags = table.derived("usable", lambda: _usable_by_table(table)).copy()
    if locked is not None and len(locked):
        flags[locked] = 0
    if hidden is not None:
        flags[hidden] = 0
    return flags


def _usable_by_table(table: ItemTable) -> Bytes:
    usable_rows = table.available[: table.n] & table.named[: table.n]
    if table.has_catalog:
        usable_rows &= table.in_catalog[: table.n]
    flags: Bytes = usable_rows.view(np.uint8)
    return flags


@inline
def mark(allowed: Allowed, b: int) -> None:
    """Mark the rows that query b names."""
    for m in range(allowed.mark_starts[b], allowed.mark_starts[b + 1]):
        allowed.flags[allowed.mark_rows[m]] |= MARKED


@inline
def unmark(allowed: Allowed, b: int) -> None:
    """Take the marks of query b away again."""
    for m in range(allowed.mark_starts[b], allowed.mark_starts[b + 1]):
        allowed.flags[allowed.mark_rows[m]] &= USABLE


@inline
def add_to_pool(row: np.int32, gain: np.float32, sums: Floats, pool: Int32s, n: int) -> int:
    """Add to the sum of an item, a cell of (N,); return how many the pool holds, which an item enters at its first sum.

    Written for every item, counted for new ones, and who may be shown is asked behind it, once an item
    (`take_allowed`): a branch that is mispredicted for one in three took half of the two-step rules' time. Of a signed
    index numba asks whether it counts from the end, a tenth of the rest.
    """
    cell = np.uint32(row)
    pool[np.uint32(n)] = row
    n += sums[cell] == 0
    sums[cell] += gain
    return n


@inline
def take_sums(rows: Int32s, n: int, sums: Floats, scores: Floats) -> None:
    """Move the sums of the first n rows of a pool from their cells, (N,), to the pool's scores; clear the cells."""
    for p in range(n):
        scores[p] = sums[rows[p]]
        sums[rows[p]] = 0


@inline
def take_allowed(allowed: Allowed, b: int, rows: Int32s, n: int, sums: Floats, scores: Floats) -> int:
    """Do so for those that query b may get and that have a sum, which move to the front; return how many they are."""
    mark(allowed, b)
    kept = 0
    for p in range(n):
        row = rows[p]
        rows[kept], scores[kept] = row, sums[row]
        kept += (sums[row] > 0) & (allowed.flags[row] == allowed.eligible)
        sums[row] = 0
    unmark(allowed, b)
    return kept


@inline
def propose(rows: Int32s, scores: Floats, n: int, hashes: Int64s, found: Candidates, b: int) -> None:
    """Write the best of the first n entries of a pool to query b's candidates."""
    kept = select_top(rows, scores, n, found.rows.shape[1], hashes)
    for p in range(kept):
        found.rows[b, p] = rows[p]
        found.scores[b, p] = scores[p]


@inline
def _to_key(bits: int) -> int:
    """Turn a float32's bits to an integer that is the smaller the larger the number is."""
    return bits if bits >> 31 else bits ^ 0x7FFFFFFF


@inline
def _drop_lowest(rows: Int32s, scores: Floats, keys: Int64s, n: int, limit: int) -> int:
    """Move whole buckets of the best entries to the front until they are at least `limit`; say how many."""
    counts = np.zeros(_BUCKETS, np.int32)
    best = keys[0]
    for i in range(n):
        best = min(best, keys[i])
    for i in range(n):
        counts[min((keys[i] - best) >> 20, _BUCKETS - 1)] += 1
    bucket, passed = 0, counts[0]
    while passed < limit:
        bucket += 1
        passed += counts[bucket]
    if passed == n:
        return n
    kept = 0
    for i in range(n):
        # Written for every entry, counted for some: no branch to mispredict.
        rows[kept], scores[kept], keys[kept] = rows[i], scores[i], keys[i]
        kept += min((keys[i] - best) >> 20, _BUCKETS - 1) <= bucket
    return kept


@inline
def _radix_sort(rows: Int32s, scores: Floats, keys: Int64s, n: int, n_bytes: int) -> None:
    """Sort the first `n` entries by rising key, byte by byte from the lowest."""
    counts = np.zeros((n_bytes, _BUCKETS), np.int32)
    for i in range(n):
        for byte in range(n_bytes):
            counts[byte, (keys[i] >> (8 * byte)) & 255] += 1
    from_rows, from_scores, from_keys = rows[:n], scores[:n], keys[:n]
    to_rows, to_scores, to_keys = np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.int64)
    for byte in range(n_bytes):
        if counts[byte, (from_keys[0] >> (8 * byte)) & 255] == n:
            continue
        position = 0
        for value in range(_BUCKETS):
            count = counts[byte, value]
            counts[byte, value] = position
            position += count
        for i in range(n):
            value = (from_keys[i] >> (8 * byte)) & 255
            position = counts[byte, value]
            counts[byte, value] = position + 1
            to_rows[position], to_scores[position], to_keys[position] = from_rows[i], from_scores[i], from_keys[i]
        from_rows, to_rows = to_rows, from_rows
        from_scores, to_scores = to_scores, from_scores
        from_keys, to_keys = to_keys, from_keys
    for i in range(n):
        rows[i], scores[i] = from_rows[i], from_scores[i]


@inline
def _sort_ties(rows: Int32s, scores: Floats, keys: Int64s, hashes: Int64s) -> None:
    """Sort a run of equal scores by hash."""
    n = len(rows)
    for i in range(n):
        keys[i] = hashes[rows[i]]
    if n > _COUNTED:
        _radix_sort(rows, scores, keys, n, 8)
        return
    unsorted = rows.copy()
    for i in range(n):
        position = 0
        for j in range(n):
            position += keys[j] < keys[i]
        rows[position] = unsorted[i]


@inline
def select_top(rows: Int32s, scores: Floats, n: int, limit: int, hashes: Int64s) -> int:
    """Move the best `limit` of the first `n` entries to the front, best first, and say how many there are.

    What stands behind them afterwards is without meaning. Ties go to the lower hash, never to the lower row:
    rows differ between processes, and a replay has to give the same order. Radix passes and counting rather
    than a heap: no branch depends on the data, and of 750 scores the best 100 come out in a quarter of the
    time.
    """
    if n == 0:
        return 0
    keys = np.empty(n, np.int64)
    bits = scores[:n].view(np.uint32)
    for i in range(n):
        keys[i] = _to_key(int(bits[i]))
    m = _drop_lowest(rows, scores, keys, n, min(n, limit))
    _radix_sort(rows, scores, keys, m, 4)
    start = 0
    while start < min(m, limit):
        stop = start + 1
        while stop < m and scores[stop] == scores[start]:
            stop += 1
        if stop - start > 1:
            _sort_ties(rows[start:stop], scores[start:stop], keys[start:stop], hashes)
        start = stop
    return min(n, limit)
