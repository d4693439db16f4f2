"""Compile all kernels of the item table before its first row."""

from collections.abc import Iterator

import numpy as np

from models.items.columns import N_DIMENSIONS
from models.items.postings import N_POSTED
from models.items.rows import pack_content, pack_neighbours, pack_session, pack_trending
from models.items.table import ItemTable
from models.messages import Item
from models.numeric.ids import hash64

N_ITEMS = N_POSTED + 2
"""So many that a posting list has to be refilled when one is removed."""


def warm_up() -> None:
    """Compile, or load from the cache, so that no row waits: seconds the first time, then tenths."""
    ids = [f"warm-up-{n}" for n in range(N_ITEMS)]
    table = ItemTable(0, capacity=1)
    table.apply_items([Item(item_id, categories=["warm-up"]) for item_id in ids], [])
    for at in (1, 1_000 * table.half_life_long_ms):
        keys, rows = zip(*_rows(ids, at), strict=True)
        table.apply_rows(list(keys), list(rows))
    table.sessions.holders.lay_out(1)
    table.apply_items([], ids[:1])
    table.trending(hash64("warm-up"))
    table.facts(hash64(ids[1]))


def _rows(ids: list[str], at: int) -> Iterator[tuple[bytes, bytes]]:
    """Make a row of each table, all of the moment `at`."""
    weights = np.ones(len(ids), np.float32)
    items = np.array([hash64(item_id) for item_id in ids])
    yield (
        f"neighbours/{ids[0]}".encode(),
        pack_neighbours(
            ids[0], version=at, learned_until=at, reference_at=at, first_seen_at=at, popularity=(1.0, 1.0),
            neighbours=items, rule_weights=weights, covisit_weights=weights,
        ),
    )  # fmt: skip
    yield f"content/{ids[0]}".encode(), pack_content(ids[0], at, np.ones(N_DIMENSIONS, np.int8))
    yield (
        b"trending/warm-up/0",
        pack_trending(
            "warm-up", shard=0, version=at, learned_until=at, reference_at=at, items=items, weights=weights
        ),
    )  # fmt: skip
    yield b"sessions/0", pack_session(0, version=at, last_at=at, user=1, items=items[:2])
