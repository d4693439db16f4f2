"""Packed rows of items, joined and written into the table's columns in one pass."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.items.columns import Columns
from models.items.rows import CONTENT, FORMAT, HEADER_WORDS, NEIGHBOURS, RowKey
from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int8s, Int32s, Int64s
from models.numeric.ids import hash64
from models.numeric.kernels import inline, kernel

EMPTY = -1
"""Version of a row that takes the place of a tombstone."""
_FALLEN = 1 - 1e-5
"""A popularity has fallen only where rounding does not explain it."""


class Scales(NamedTuple):
    """How stored weights decay."""

    landmark_at: int
    half_life_short_ms: int
    half_life_long_ms: int


@dataclass(frozen=True, slots=True)
class Applied:
    """What a pass changed, as rows of the table."""

    learned: Int32s
    """Those whose neighbours row was applied, each once."""
    fallen: Int32s
    """Those whose popularity is lower than before."""
    n: int
    """Packed rows applied."""
    learned_until: int
    """The newest of the applied rows."""


class PackedRows:
    """Neighbours and content rows, each checked by itself (`models.items.rows`), laid end to end.

    Parameters
    ----------
    rows : keys and values; None is a tombstone.
    n_neighbours : how many are kept of an item.

    Raises
    ------
    ValueError : a weight or a neighbour is none; the text names the key.
    """

    def __init__(self, rows: list[tuple[RowKey, bytes | None]], n_neighbours: int) -> None:
        self.item_ids = [key.name for key, _ in rows]
        parts = [_tombstone(key) if value is None else value for key, value in rows]
        self._words = np.frombuffer(b"".join(parts), np.int64)
        sizes = np.fromiter(map(len, parts), np.int64, len(parts)) // 8
        self._starts = np.cumsum(sizes) - sizes
        self.hashes = self._words[self._starts + 1]
        self.empties = self._words[self._starts + 2] == EMPTY
        self.mentioned = np.empty(len(self._words), np.int64)
        """Hashes of all neighbours, row by row."""
        n = _mention(self._words, self._words.view(np.uint32), self._starts, n_neighbours, self.mentioned)
        if n < 0:
            raise rows[-1 - n][0].error("a weight that is no finite number, or a neighbour without a hash")
        self.mentioned = self.mentioned[:n]
        self.newest_at = int(self._words[self._starts + 4].max(initial=0))
        """The newest moment that weights refer to, Unix ms."""

    def write(self, columns: Columns, rows: Int32s, mentioned: Int32s, scales: Scales) -> Applied:
        """Write the rows in their order; an older or repeated version changes nothing, a tombstone empties a row.

        Parameters
        ----------
        rows : (M,) of the table, -1 where an item is unknown.
        mentioned : rows of the table for `self.mentioned`.
        """
        changed = np.zeros(len(rows), np.bool_)
        fallen = np.zeros(len(rows), np.bool_)
        _write(
            self._words, self._words.view(np.uint32), self._words.view(np.int8), self._starts, rows, mentioned,
            changed, fallen, columns.versions, columns.neighbours, columns.rule_weights, columns.covisit_weights,
            columns.rule_totals, columns.popularity, columns.first_seen_at, columns.vectors, *scales,
        )  # fmt: skip
        learned_until = int(self._words[self._starts[changed] + 3].max(initial=0))
        learned = changed & (self._words[self._starts] & 0xFF == NEIGHBOURS)
        return Applied(np.unique(rows[learned]), rows[fallen], int(changed.sum()), learned_until)


def _tombstone(key: RowKey) -> bytes:
    words = np.zeros(HEADER_WORDS, np.int64)
    words[:3] = key.code | FORMAT << 8, hash64(key.name), EMPTY
    return words.tobytes()


def rescale(columns: Columns, short: float, long: float) -> None:
    """Multiply all stored weights: those of the short half-life by `short`, the others by `long`."""
    n = columns.n
    columns.popularity[:n] *= np.array([short, long], np.float32)
    columns.rule_weights[:n] *= np.float32(long)
    columns.rule_totals[:n] *= long
    columns.covisit_weights[:n] *= np.float32(long)


@inline
def _is_no_number(bits: int) -> bool:
    """Whether the bits of a float32 are those of an infinity or of no number."""
    return (bits & 0x7F800000) == 0x7F800000


@kernel
def _mention(words: Int64s, halves: Hash32s, starts: Int64s, n_kept: int, mentioned: Int64s) -> int:
    """Gather the hashes of the neighbours that are kept; returns how many, or -1 - m where row m is malformed."""
    total = 0
    for m in range(len(starts)):
        start = starts[m]
        if words[start] & 0xFF != NEIGHBOURS:
            continue
        if _is_no_number(halves[2 * start + 12]) or _is_no_number(halves[2 * start + 13]):
            return -1 - m
        n = words[start] >> 16
        body = start + HEADER_WORDS
        for p in range(min(n, n_kept)):
            pair = halves[2 * (body + n) + p]
            if words[body + p] <= 0 or _is_no_number(pair) or _is_no_number(pair << np.uint32(16)):
                return -1 - m
            mentioned[total] = words[body + p]
            total += 1
    return total


@kernel
def _write(
    words: Int64s, halves: Hash32s, signed: Int8s, starts: Int64s, rows: Int32s, mentioned: Int32s, changed: Bools,
    fallen: Bools, versions: Int64s, neighbours: Int32s, rule_weights: Floats, covisit_weights: Floats,
    rule_totals: Doubles, popularity: Floats, first_seen_at: Int64s, vectors: Int8s, landmark_at: int,
    half_life_short: int, half_life_long: int,
) -> None:  # fmt: skip
    bits = np.empty(2, np.uint32)
    weights = bits.view(np.float32)
    next_mentioned = 0
    for m in range(len(starts)):
        start, row = starts[m], rows[m]
        n = words[start] >> 16
        body = start + HEADER_WORDS
        table = 1 if words[start] & 0xFF == CONTENT else 0
        n_kept = min(n, neighbours.shape[1]) if table == 0 else 0
        first = next_mentioned
        next_mentioned += n_kept
        version = words[start + 2]
        if row < 0 or (version != EMPTY and version <= versions[row, table]):
            continue
        versions[row, table] = max(version, 0)
        changed[m] = True
        if table == 1:
            for d in range(vectors.shape[1]):
                vectors[row, d] = signed[8 * body + d] if d < n else 0
            continue
        age = words[start + 4] - landmark_at
        long = 2.0 ** (age / half_life_long)
        bits[0], bits[1] = halves[2 * start + 12], halves[2 * start + 13]
        fallen[m] = weights[1] * long < popularity[row, 1] * _FALLEN
        popularity[row, 0] = weights[0] * 2.0 ** (age / half_life_short)
        popularity[row, 1] = weights[1] * long
        if version != EMPTY:
            first_seen_at[row] = words[start + 5]
        rule_totals[row] = 0.0
        for p in range(n_kept):
            pair = halves[2 * (body + n) + p]
            bits[0], bits[1] = pair & np.uint32(0xFFFF0000), pair << np.uint32(16)
            neighbours[row, p] = mentioned[first + p]
            rule_weights[row, p] = weights[0] * long
            rule_totals[row] += rule_weights[row, p]
            covisit_weights[row, p] = weights[1] * long
        for p in range(n_kept, neighbours.shape[1]):
            neighbours[row, p] = -1
            rule_weights[row, p] = covisit_weights[row, p] = 0.0
