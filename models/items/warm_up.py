"""Compile all kernels of the item table before its first row."""

from collections.abc import Iterator

import numpy as np

from models.items.columns import N_DIMENSIONS
from models.items.links import mark_mentioned
from models.items.postings import N_POSTED
from models.items.table import ItemTable
from models.items.wire import ContentRow, NeighboursRow, SessionRow, TrendingRow, WeighedItems
from models.messages import Item
from models.numeric.ids import hash64
from models.numeric.sphere import haversines

N_ITEMS = N_POSTED + 2
"""So many that a posting list has to be refilled when one is removed."""


def warm_up() -> None:
    """Compile, or load from the cache, so that no row waits: seconds the first time, then tenths."""
    ids = [f"warm-up-{n}" for n in range(N_ITEMS)]
    table = ItemTable(0, capacity=1)
    table.apply_items([Item(item_id, categories=["warm-up"]) for item_id in ids], [])
    for at in (1, 1_000 * table.half_life_long_ms):
        rows = list(_rows(ids, at))
        table.apply_rows([row.key.encode() for row in rows], [row.pack() for row in rows])
    table.sessions.holders.lay_out(1)
    table.apply_items([], ids[:1])
    table.trending(hash64("warm-up"))
    table.facts(hash64(ids[1]))
    haversines(np.zeros(3), table.location[: table.n], np.zeros(table.n))
    mark_mentioned(table.links.arrays, table.named[: table.n], table.named[: table.n].copy())


def _rows(ids: list[str], at: int) -> Iterator[NeighboursRow | ContentRow | TrendingRow | SessionRow]:
    """Make a row of each table, all of the moment `at`."""
    weights = np.ones(len(ids), np.float32)
    items = np.array([hash64(item_id) for item_id in ids])
    others = WeighedItems(items, weights, weights)
    yield NeighboursRow(ids[0], at, at, at, (1.0, 1.0), others, others)
    yield ContentRow(ids[0], at, np.ones(N_DIMENSIONS, np.int8))
    yield TrendingRow("warm-up", 0, at, at, items, weights)
    yield SessionRow(0, at, at, 1, (hash64(ids[0]), hash64(ids[1])))
