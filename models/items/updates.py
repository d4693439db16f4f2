"""Rows of `model-updates` as they arrive: all checked before any is applied, those of items written in one pass."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.items.columns import CONTENT_VERSION, LONG, NEIGHBOURS_VERSION, SHORT, Columns
from models.items.links import LinkArrays, begin_run
from models.items.row_keys import CheckedRow, RowKey, tombstone
from models.items.sessions import SessionRows
from models.items.trends import TrendingUpdate
from models.items.wire import (
    CODE_MASK,
    CONTENT,
    FIRST_SEEN_AT,
    GRADUATED,
    HASH,
    HEAD,
    HEADER_WORDS,
    LEARNED_UNTIL,
    N_HABITS,
    N_SHIFT,
    NEIGHBOURS,
    POPULARITY,
    REFERENCE_AT,
    RULE_SHIFT,
    SESSIONS,
    TOMBSTONE,
    TRENDING,
    VERSION,
)
from models.numeric.arrays import Bools, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.decay import Landmark
from models.numeric.kernels import inline, kernel

_FALLEN = 1 - 1e-5
"""A popularity has fallen only where rounding does not explain it."""
_SHORT_HALF, _LONG_HALF = 2 * POPULARITY, 2 * POPULARITY + 1
"""Where a row's popularities stand, in halves of a word."""
_RULE_BITS = np.uint32(0xFFFF0000)
"""Of a pair of weights."""
_INFINITY = 0x7F800000
"""Bits of a float32 that are all set in an infinity, and in what is no number."""


class Applied(NamedTuple):
    """What a pass changed, as rows of the table."""

    learned: Int32s
    """Those whose neighbours row was applied, each once."""
    fallen: Int32s
    """Those whose popularity is lower than before."""
    described: Int32s
    """Those whose content row was applied."""
    n: int
    """Packed rows applied."""
    learned_until: int
    """The newest of the applied rows."""


class _RowArrays(NamedTuple):
    """M rows laid end to end, seen in three ways."""

    words: Int64s
    """(W,)"""
    halves: Hash32s
    """(2 W,) the bits of float32 and of pairs of weights."""
    signed: Int8s
    """(8 W,)"""
    starts: Int64s
    """(M,) the word where each row begins."""


class _Written(NamedTuple):
    """The columns that rows are written to; shapes as in `Columns`."""

    versions: Int64s
    popularity: Floats
    first_seen_at: Int64s
    vectors: Int8s


class ItemRows:
    """Neighbours and content rows laid end to end.

    Parameters
    ----------
    n_neighbours : how many are kept of an item, and how many habits.

    Raises
    ------
    ValueError : a weight or a neighbour is none; the text names the key.
    """

    def __init__(self, rows: list[CheckedRow], n_neighbours: int) -> None:
        self._n_kept = n_neighbours
        self.item_ids = [key.name for key, _ in rows]
        parts = [tombstone(key) if value is None else value for key, value in rows]
        words = np.frombuffer(b"".join(parts), np.int64)
        sizes = np.fromiter(map(len, parts), np.int64, len(parts)) // 8
        starts = np.cumsum(sizes) - sizes
        self._packed = _RowArrays(words, words.view(np.uint32), words.view(np.int8), starts)
        self.hashes = words[starts + HASH]
        """(M,) of the items."""
        self.tombstones = words[starts + VERSION] == TOMBSTONE
        """(M,) bool."""
        self.newest_at = int(words[starts + REFERENCE_AT].max(initial=0))
        """The newest moment that weights refer to, Unix ms."""
        mentioned = np.empty(len(words), np.int64)
        n, self.n_habits = _mention(self._packed, n_neighbours, mentioned)
        if n < 0:
            raise rows[-1 - n][0].error("a weight that is no finite number, or a neighbour without a hash")
        self.n_neighbours = n - self.n_habits
        self.mentioned = mentioned[:n]
        """Hashes of all neighbours and habits that are kept, row by row."""

    def write(
        self,
        columns: Columns,
        links: LinkArrays,
        habits: LinkArrays,
        rows: Int32s,
        mentioned: Int32s,
        landmark: Landmark,
    ) -> Applied:
        """Write the rows in their order; an older or repeated version changes nothing, a tombstone empties a row.

        Parameters
        ----------
        links, habits : with room for all neighbours and habits that are kept.
        rows : (M,) of the table, -1 where an item is unknown.
        mentioned : rows of the table for `self.mentioned`.
        """
        changed = np.zeros(len(rows), np.bool_)
        fallen = np.zeros(len(rows), np.bool_)
        written = _Written(columns.versions, columns.popularity, columns.first_seen_at, columns.vectors)
        _write(self._packed, self._n_kept, rows, mentioned, landmark, written, links, habits, changed, fallen)
        words, starts = self._packed.words, self._packed.starts
        is_neighbours = words[starts + HEAD] & CODE_MASK == NEIGHBOURS
        learned = changed & is_neighbours
        learned_until = int(words[starts[changed] + LEARNED_UNTIL].max(initial=0))
        described = rows[changed & ~is_neighbours]
        return Applied(np.unique(rows[learned]), rows[fallen], described, int(changed.sum()), learned_until)


@dataclass(frozen=True, slots=True)
class Updates:
    """Rows of items, of trends, of sessions and of graduations, each in their order."""

    items: ItemRows
    trends: list[TrendingUpdate]
    sessions: SessionRows
    graduated: dict[str, bool]
    """By item: whether it has, or what said so was taken back."""

    @classmethod
    def read(cls, keys: list[bytes], values: list[bytes | None], n_neighbours: int, latest_at: int) -> "Updates":
        """Check rows and sort them by table.

        Parameters
        ----------
        latest_at : no row may be of a later time, Unix ms.

        Raises
        ------
        ValueError : a row is malformed; the text names its key.
        """
        items: list[CheckedRow] = []
        trends: list[TrendingUpdate] = []
        sessions: list[CheckedRow] = []
        graduated: dict[str, bool] = {}
        for raw, value in zip(keys, values, strict=True):
            key = RowKey.parse(raw)
            if value is not None:
                key.check(value, latest_at)
            if key.code == TRENDING:
                trends.append(TrendingUpdate.read(key, value))
            elif key.code == SESSIONS:
                sessions.append((key, value))
            elif key.code == GRADUATED:
                graduated[key.name] = value is not None
            else:
                items.append((key, value))
        return cls(ItemRows(items, n_neighbours), trends, SessionRows.read(sessions), graduated)


@inline
def _is_no_number(bits: int) -> bool:
    """Whether the bits of a float32 are those of an infinity or of no number."""
    return (bits & _INFINITY) == _INFINITY


@kernel
def _mention(packed: _RowArrays, n_kept: int, mentioned: Int64s) -> tuple[int, int]:
    """Write the hashes of the neighbours and habits that are kept; return how many, and how many are habits.

    Where row m is malformed, the first is -1 - m.
    """
    words, halves, starts = packed.words, packed.halves, packed.starts
    total = total_habits = 0
    for m in range(len(starts)):
        start = starts[m]
        if words[start + HEAD] & CODE_MASK != NEIGHBOURS:
            continue
        if _is_no_number(halves[2 * start + _SHORT_HALF]) or _is_no_number(halves[2 * start + _LONG_HALF]):
            return -1 - m, 0
        n, n_habits = words[start + HEAD] >> N_SHIFT, words[start + N_HABITS]
        body = start + HEADER_WORDS
        if not _mention_list(packed, body, n, min(n, n_kept), mentioned, total):
            return -1 - m, 0
        total += min(n, n_kept)
        if not _mention_list(packed, _behind(body, n), n_habits, min(n_habits, n_kept), mentioned, total):
            return -1 - m, 0
        total += min(n_habits, n_kept)
        total_habits += min(n_habits, n_kept)
    return total, total_habits


@inline
def _behind(body: int, n: int) -> int:
    """Say at which word a list of n ends that begins at `body`."""
    return body + n + (n + 1) // 2


@inline
def _mention_list(packed: _RowArrays, body: int, n: int, n_kept: int, mentioned: Int64s, total: int) -> bool:
    """Write the first hashes of a list of n that begins at the word `body`; say whether it is well formed."""
    for p in range(n_kept):
        item, pair = packed.words[body + p], packed.halves[2 * (body + n) + p]
        if item <= 0 or _is_no_number(pair) or _is_no_number(pair << np.uint32(RULE_SHIFT)):
            return False
        mentioned[total + p] = item
    return True


@kernel
def _write(
    packed: _RowArrays,
    most: int,  # neighbours, and habits, that are kept of an item
    rows: Int32s,  # (M,) of the table, -1 unknown
    mentioned: Int32s,  # rows of the neighbours and habits that are kept, row by row
    landmark: Landmark,
    columns: _Written,
    links: LinkArrays,  # written
    habits: LinkArrays,  # written
    changed: Bools,  # (M,) written: rows that were applied
    fallen: Bools,  # (M,) written: rows whose item has become less popular
) -> None:
    """Apply rows in their order."""
    words, halves = packed.words, packed.halves
    bits = np.empty(2, np.uint32)
    weights = bits.view(np.float32)
    next_mentioned = 0
    for m in range(len(rows)):
        start, row = packed.starts[m], rows[m]
        is_content = words[start + HEAD] & CODE_MASK == CONTENT
        n, n_habits = words[start + HEAD] >> N_SHIFT, words[start + N_HABITS]
        body = start + HEADER_WORDS
        n_kept = 0 if is_content else min(n, most)
        n_kept_habits = min(n_habits, most)
        first = next_mentioned
        next_mentioned += n_kept + n_kept_habits
        version, table = words[start + VERSION], CONTENT_VERSION if is_content else NEIGHBOURS_VERSION
        if row < 0 or (version != TOMBSTONE and version <= columns.versions[row, table]):
            continue
        columns.versions[row, table] = max(version, 0)
        changed[m] = True
        if is_content:
            for d in range(columns.vectors.shape[1]):
                columns.vectors[row, d] = packed.signed[8 * body + d] if d < n else 0
            continue
        age = words[start + REFERENCE_AT] - landmark.at
        long = 2.0 ** (age / landmark.half_life_long_ms)
        bits[0], bits[1] = halves[2 * start + _SHORT_HALF], halves[2 * start + _LONG_HALF]
        fallen[m] = weights[1] * long < columns.popularity[row, LONG] * _FALLEN
        columns.popularity[row, SHORT] = weights[0] * 2.0 ** (age / landmark.half_life_short_ms)
        columns.popularity[row, LONG] = weights[1] * long
        if version != TOMBSTONE:
            columns.first_seen_at[row] = words[start + FIRST_SEEN_AT]
        known, known_habits = mentioned[first : first + n_kept], mentioned[first + n_kept : next_mentioned]
        _write_links(row, packed.halves[2 * (body + n) :], known, long, links, bits, weights)
        pairs = packed.halves[2 * (_behind(body, n) + n_habits) :]
        _write_links(row, pairs, known_habits, long, habits, bits, weights)


@inline
def _write_links(
    row: int,
    pairs: Hash32s,  # (n or more,) of weights
    others: Int32s,  # (n,) rows
    scale: float,  # turns the weights into landmark units
    links: LinkArrays,  # written
    bits: Hash32s,  # (2,) of `weights`
    weights: Floats,  # (2,)
) -> None:
    """Write an item's links in place of those it had."""
    start = begin_run(row, len(others), links)
    for p in range(len(others)):
        bits[0], bits[1] = pairs[p] & _RULE_BITS, pairs[p] << np.uint32(RULE_SHIFT)
        links.others[start + p] = others[p]
        links.rules[start + p] = weights[0] * scale
        links.rule_totals[row] += links.rules[start + p]
        links.covisits[start + p] = weights[1] * scale
