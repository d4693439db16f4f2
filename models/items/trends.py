"""What trends in each segment, merged over the shards that published it."""

import numpy as np

from models.arrays import Floats, Int32s, Int64s
from models.items.columns import Columns

MAX_TRENDING = 500


class Trends:
    """Trending rows as they came, and their merged lists as they are asked for."""

    def __init__(self) -> None:
        self._shards: dict[int, dict[int, tuple[int, Int64s, Floats]]] = {}
        self._merged: dict[int, tuple[Int32s, Floats]] = {}

    def put(self, segment: int, shard: int, version: int, items: Int64s, weights: Floats) -> bool:
        """Take one shard's row of a segment; an older or repeated version changes nothing."""
        shards = self._shards.setdefault(segment, {})
        if shard in shards and version <= shards[shard][0]:
            return False
        shards[shard] = (version, items, weights)
        self._merged.pop(segment, None)
        return True

    def drop(self, segment: int, shard: int) -> None:
        """Take a shard's row away."""
        self._shards.get(segment, {}).pop(shard, None)
        self._merged.pop(segment, None)

    def best(self, segment: int, columns: Columns) -> tuple[Int32s, Floats]:
        """Merge a segment's shards: (T,) rows and weights, best first, ties by the item's hash, T at most 500."""
        if segment not in self._merged:
            self._merged[segment] = self._merge(segment, columns)
        return self._merged[segment]

    def _merge(self, segment: int, columns: Columns) -> tuple[Int32s, Floats]:
        shards = list(self._shards.get(segment, {}).values())
        if not shards:
            return np.empty(0, np.int32), np.empty(0, np.float32)
        hashes = np.concatenate([items for _, items, _ in shards])
        weights = np.concatenate([weight for _, _, weight in shards])
        order = np.lexsort((hashes, -weights))[:MAX_TRENDING]
        rows = columns.rows_of(hashes[order])
        return rows, weights[order]
