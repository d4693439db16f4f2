"""Rows of `model-updates` as they arrive: all checked before any is applied."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.items.packed import PackedRows
from models.items.rows import HEADER_WORDS, SESSIONS, TRENDING, RowKey
from models.items.sessions import EMPTY
from models.items.trends import Shard
from models.numeric.arrays import Int64s
from models.numeric.ids import hash64


class TrendingUpdate(NamedTuple):
    """One shard's row of a segment, or its tombstone."""

    segment: int
    """Its hash."""
    number: int
    """Of the shard."""
    shard: Shard | None
    learned_until: int


@dataclass(frozen=True, slots=True)
class Updates:
    """Rows of items, of trends and of sessions, each in their order."""

    packed: PackedRows
    trends: list[TrendingUpdate]
    sessions: "SessionUpdates"

    @classmethod
    def read(cls, keys: list[bytes], values: list[bytes | None], n_neighbours: int) -> "Updates":
        """Check rows and sort them by table.

        Raises
        ------
        ValueError : a row is malformed; the text names its key.
        """
        rows = []
        trends = []
        sessions = []
        for raw, value in zip(keys, values, strict=True):
            key = RowKey.parse(raw)
            if value is not None:
                key.check(value)
            if key.code == TRENDING:
                trends.append(_trending(key, value))
            elif key.code == SESSIONS:
                sessions.append((key, value))
            else:
                rows.append((key, value))
        return cls(PackedRows(rows, n_neighbours), trends, SessionUpdates.of(sessions))


class SessionUpdates(NamedTuple):
    """Rows of sessions laid end to end, and tombstones, whose version is -1."""

    numbers: Int64s
    """(M,)"""
    versions: Int64s
    """(M,)"""
    users: Int64s
    """(M,) hashes."""
    last_at: Int64s
    """(M,)"""
    starts: Int64s
    """(M + 1,)"""
    items: Int64s
    """Hashes, session by session, oldest first."""

    @classmethod
    def of(cls, rows: list[tuple[RowKey, bytes | None]]) -> "SessionUpdates":
        """Lay out checked rows.

        Raises
        ------
        ValueError : an item has no hash; the text names the key.
        """
        words = [np.frombuffer(value or _NO_SESSION, np.int64) for _, value in rows]
        for (key, _), row in zip(rows, words, strict=True):
            if (row[HEADER_WORDS:] <= 0).any():
                raise key.error("an item without a hash")
        heads = np.array([row[:HEADER_WORDS] for row in words], np.int64).reshape(-1, HEADER_WORDS)
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) - HEADER_WORDS for row in words], out=starts[1:])
        return cls(
            np.array([key.number for key, _ in rows], np.int64),
            heads[:, 2],
            heads[:, 6],
            heads[:, 4],
            starts,
            np.concatenate([np.empty(0, np.int64), *(row[HEADER_WORDS:] for row in words)]),
        )


_NO_SESSION = np.array([0, 0, EMPTY, 0, 0, 0, 0, 0], np.int64).tobytes()


def _trending(key: RowKey, value: bytes | None) -> TrendingUpdate:
    segment = hash64(key.name)
    if value is None:
        return TrendingUpdate(segment, key.number, None, 0)
    words = np.frombuffer(value, np.int64)
    n = int(words[0]) >> 16
    version, learned_until, reference_at = words[2:5].tolist()
    items = words[HEADER_WORDS : HEADER_WORDS + n]
    weights = words[HEADER_WORDS + n :].view(np.float32)[:n]
    if not np.isfinite(weights).all() or (items <= 0).any():
        raise key.error("a weight that is no finite number, or an item without a hash")
    return TrendingUpdate(segment, key.number, Shard(version, reference_at, items, weights), learned_until)
