"""Rows of `model-updates` as they arrive: all checked before any is applied."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.ids import hash64
from models.items.packed import PackedRows
from models.items.rows import HEADER_WORDS, TRENDING, RowKey
from models.items.trends import Shard


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
    """Rows of items and rows of trends, each in their order."""

    packed: PackedRows
    trends: list[TrendingUpdate]

    @classmethod
    def read(cls, keys: list[bytes], values: list[bytes | None], n_neighbours: int) -> "Updates":
        """Check rows and sort them by table.

        Raises
        ------
        ValueError : a row is malformed; the text names its key.
        """
        rows = []
        trends = []
        for raw, value in zip(keys, values, strict=True):
            key = RowKey.parse(raw)
            if value is not None:
                key.check(value)
            if key.code == TRENDING:
                trends.append(_trending(key, value))
            else:
                rows.append((key, value))
        return cls(PackedRows(rows, n_neighbours), trends)


def _trending(key: RowKey, value: bytes | None) -> TrendingUpdate:
    segment = hash64(key.name)
    if value is None:
        return TrendingUpdate(segment, key.shard, None, 0)
    words = np.frombuffer(value, np.int64)
    n = int(words[0]) >> 16
    version, learned_until, reference_at = words[2:5].tolist()
    items = words[HEADER_WORDS : HEADER_WORDS + n]
    weights = words[HEADER_WORDS + n :].view(np.float32)[:n]
    if not np.isfinite(weights).all() or (items <= 0).any():
        raise key.error("a weight that is no finite number, or an item without a hash")
    return TrendingUpdate(segment, key.shard, Shard(version, reference_at, items, weights), learned_until)
