"""Rows of items with defaults, and tables by readable ids."""

import numpy as np

from models.items import ItemTable
from models.items.wire import NeighboursRow, TrendingRow, WeighedItems
from models.numeric.ids import hash32, hash64

NOW = 1_700_000_000_000
DAY_MS = 86_400_000


def a_row(
    item: str,
    version: int = 1,
    neighbours: tuple[str, ...] = (),
    weight: float = 1.0,
    at: int = NOW,
    first_seen_at: int = NOW - DAY_MS,
) -> bytes:
    n = len(neighbours)
    return NeighboursRow(
        item,
        version=version,
        reference_at=at,
        first_seen_at=first_seen_at,
        popularity=(weight, 2 * weight),
        neighbours=WeighedItems(
            np.array([hash64(name) for name in neighbours], np.int64),
            np.full(n, weight, np.float32),
            np.full(n, weight / 2, np.float32),
        ),
    ).pack()


def a_trend(segment: str, weights: dict[str, float], *, shard: int = 0, version: int = 1, at: int = NOW) -> bytes:
    return TrendingRow(
        segment,
        shard=shard,
        version=version,
        reference_at=at,
        items=np.array([hash64(item) for item in weights], np.int64),
        weights=np.array(list(weights.values()), np.float32),
    ).pack()


def apply(table: ItemTable, item: str, value: bytes | None, kind: str = "neighbours") -> int:
    return table.apply_rows([f"{kind}/{item}".encode()], [value])


def row_of(table: ItemTable, item: str) -> int:
    return int(table.rows_of(np.array([hash64(item)], np.int64))[0])


def posted(table: ItemTable, attribute: str, lists: np.ndarray) -> list[str]:
    """Name the items of an attribute's list."""
    number = table.postings.numbers_of(np.array([hash32(attribute)], np.uint32))[0]
    return [table.ids[row] for row in lists[number] if row >= 0]
