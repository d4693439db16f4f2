"""What trends in each segment, merged over the shards that published it."""

from typing import NamedTuple

import numpy as np

from models.items.columns import Columns
from models.items.row_keys import RowKey
from models.items.wire import HEAD, HEADER_WORDS, LEARNED_UNTIL, N_SHIFT, REFERENCE_AT, VERSION
from models.numeric.arrays import Floats, Int32s, Int64s
from models.numeric.ids import hash64

MAX_TRENDING = 500


class Shard(NamedTuple):
    """What one shard of the items knows of a segment."""

    version: int
    reference_at: int
    """The moment that the weights refer to, Unix ms."""
    items: Int64s
    """(n,) hashes."""
    weights: Floats
    """(n,)"""


class TrendingUpdate(NamedTuple):
    """One shard's row of a segment, or its tombstone."""

    segment: int
    """Its hash."""
    number: int
    """Of the shard."""
    shard: Shard | None
    learned_until: int

    @classmethod
    def read(cls, key: RowKey, value: bytes | None) -> "TrendingUpdate":
        """Unpack a row.

        Raises
        ------
        ValueError : a weight or an item is none; the text names the key.
        """
        segment = hash64(key.name)
        if value is None:
            return cls(segment, key.number, None, 0)
        words = np.frombuffer(value, np.int64)
        n = int(words[HEAD]) >> N_SHIFT
        items = words[HEADER_WORDS : HEADER_WORDS + n]
        weights = words[HEADER_WORDS + n :].view(np.float32)[:n]
        if not np.isfinite(weights).all() or (items <= 0).any():
            raise key.error("a weight that is no finite number, or an item without a hash")
        shard = Shard(int(words[VERSION]), int(words[REFERENCE_AT]), items, weights)
        return cls(segment, key.number, shard, int(words[LEARNED_UNTIL]))


_NOTHING: tuple[Int32s, Floats] = np.empty(0, np.int32), np.empty(0, np.float32)


class Trends:
    """Trending rows as they came, and their merged lists as they are asked for.

    Parameters
    ----------
    half_life_ms : of the weights.
    """

    def __init__(self, half_life_ms: int) -> None:
        self._half_life_ms = half_life_ms
        self._shards: dict[int, dict[int, Shard]] = {}
        self._merged: dict[int, tuple[Int32s, Floats]] = {}

    def put(self, segment: int, number: int, shard: Shard) -> bool:
        """Take one shard's row of a segment; an older or repeated version changes nothing."""
        shards = self._shards.setdefault(segment, {})
        if number in shards and shard.version <= shards[number].version:
            return False
        shards[number] = shard
        self._merged.pop(segment, None)
        return True

    def drop(self, segment: int, number: int) -> bool:
        """Take a shard's row away; says whether there was one."""
        self._merged.pop(segment, None)
        return self._shards.get(segment, {}).pop(number, None) is not None

    def items(self) -> Int64s:
        """List the hashes of all items that trend somewhere, some more than once."""
        kept = [shard.items for shards in self._shards.values() for shard in shards.values()]
        return np.concatenate([np.empty(0, np.int64), *kept])

    def best(self, segment: int, columns: Columns) -> tuple[Int32s, Floats]:
        """Merge a segment's shards: (T,) rows and weights, best first, ties by the item's hash, T at most 500.

        The weights are those of the moment that the newest shard refers to.
        """
        if segment not in self._shards:
            # Contexts may name any number of segments that nobody learned: nothing is kept of those.
            return _NOTHING
        if segment not in self._merged:
            self._merged[segment] = self._merge(segment, columns)
        return self._merged[segment]

    def _merge(self, segment: int, columns: Columns) -> tuple[Int32s, Floats]:
        shards = list(self._shards.get(segment, {}).values())
        if not shards:
            return _NOTHING
        newest_at = max(shard.reference_at for shard in shards)
        hashes = np.concatenate([shard.items for shard in shards])
        weights = np.concatenate(
            [shard.weights * 2.0 ** ((shard.reference_at - newest_at) / self._half_life_ms) for shard in shards]
        ).astype(np.float32)
        order = np.lexsort((hashes, -weights))[:MAX_TRENDING]
        rows = columns.rows_of(hashes[order])
        return rows, weights[order]
