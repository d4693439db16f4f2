"""A made-up shop for the benchmarks: its item table, what its users did before, and what they do now."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import orjson

from dataflows.records import Record
from models.items import ItemTable
from models.items.sessions import LENGTH
from models.items.wire import ContentRow, NeighboursRow, SessionRow, TrendingRow, WeighedItems
from models.messages import Item
from models.numeric.arrays import Doubles, Int64s
from models.numeric.ids import hash64, hash_all

NOW = 1_700_000_000_000
HOUR_MS, DAY_MS = 3_600_000, 86_400_000

N_ITEMS = 100_000
N_NEIGHBOURS = 50
N_USERS = 10_000
N_RECENT = 15
N_SESSIONS = 50_000
TRIGGER, SILENT = "click", "view"
"""One event in four is a trigger."""

_N_DEPARTMENTS, _N_SHELVES, _N_TAGS = 20, 400, 2_000
_N_TRENDING = 500
_DIMENSIONS = 64
_SEGMENTS = ("all", "device=phone", "device=tv")


@dataclass(frozen=True, slots=True)
class World:
    """What every measurement shares."""

    table: ItemTable
    past: list[Record]
    """Every user's 15 views: they fill the profiles before the clock starts, and make no slate."""
    present: list[Record]
    """The events that are timed."""


def make_world(n_events: int, seed: int = 0) -> World:
    """Make the shop; the same seed makes the same one."""
    rng = np.random.default_rng(seed)
    shelf = rng.integers(_N_SHELVES, size=N_ITEMS)
    popularity = 1.0 / rng.permutation(np.arange(1, N_ITEMS + 1)) ** 0.8
    table = _table(rng, shelf, popularity)
    draw = np.cumsum(popularity) / popularity.sum()
    past = _past(rng, draw)
    return World(table, past, _present(rng, draw, n_events, len(past)))


def _table(rng: np.random.Generator, shelf: Int64s, popularity: Doubles) -> ItemTable:
    ids = [f"item-{n}" for n in range(N_ITEMS)]
    hashes = hash_all(ids)
    table = ItemTable(NOW, capacity=2 * N_ITEMS, n_neighbours=N_NEIGHBOURS)
    table.apply_items([_item(rng, item_id, int(shelf[n])) for n, item_id in enumerate(ids)], [])
    on_shelf = [np.flatnonzero(shelf == s) for s in range(_N_SHELVES)]
    centres = rng.normal(size=(_N_SHELVES, _DIMENSIONS))
    keys: list[bytes] = []
    rows: list[bytes | None] = []
    for n, item_id in enumerate(ids):
        neighbours = rng.choice(on_shelf[shelf[n]], N_NEIGHBOURS)
        neighbours[::5] = rng.integers(N_ITEMS, size=len(neighbours[::5]))
        weights = rng.exponential(size=(2, N_NEIGHBOURS)).astype(np.float32)
        weights.sort(axis=1)
        keys.append(f"neighbours/{item_id}".encode())
        rows.append(
            NeighboursRow(
                item_id,
                version=1,
                reference_at=NOW,
                first_seen_at=NOW - 30 * DAY_MS,
                popularity=(1e3 * popularity[n], 1e4 * popularity[n]),
                neighbours=WeighedItems(hashes[neighbours], weights[0, ::-1], weights[1, ::-1]),
            ).pack()
        )
        vector = centres[shelf[n]] + rng.normal(size=_DIMENSIONS)
        keys.append(f"content/{item_id}".encode())
        rows.append(ContentRow(item_id, 1, np.rint(127 * vector / np.linalg.norm(vector)).astype(np.int8)).pack())
    best = np.argsort(-popularity)[:_N_TRENDING]
    for segment in _SEGMENTS:
        keys.append(f"trending/{segment}/0".encode())
        rows.append(
            TrendingRow(
                segment,
                shard=0,
                version=1,
                reference_at=NOW,
                items=hashes[best],
                weights=popularity[best].astype(np.float32),
            ).pack()
        )
    for user, steps in enumerate(_walks(rng, popularity)):
        row = SessionRow(user, 1, NOW - HOUR_MS, hash64(f"visitor-{user}"), tuple(hashes[steps].tolist()))
        keys.append(row.key.encode())
        rows.append(row.pack())
    table.apply_rows(keys, rows)
    return table


def _walks(rng: np.random.Generator, popularity: Doubles) -> Int64s:
    """(S, 11) items of the newest session of so many visitors."""
    draw = np.cumsum(popularity) / popularity.sum()
    return np.minimum(np.searchsorted(draw, rng.random((N_SESSIONS, LENGTH))), N_ITEMS - 1)


def _item(rng: np.random.Generator, item_id: str, shelf: int) -> Item:
    return Item(
        item_id,
        title=f"Thing {item_id}",
        categories=[f"department-{shelf % _N_DEPARTMENTS}", f"shelf-{shelf}"],
        tags=[f"tag-{tag}" for tag in rng.integers(_N_TAGS, size=2)],
        price=float(rng.integers(1, 200)),
        created_at=NOW - int(rng.integers(365)) * DAY_MS,
    )


def _past(rng: np.random.Generator, draw: Doubles) -> list[Record]:
    items = np.searchsorted(draw, rng.random((N_RECENT, N_USERS)))
    start = NOW - HOUR_MS
    return [
        _event(turn * N_USERS + user, user, int(items[turn, user]), SILENT, start + turn * 60_000 + user)
        for turn in range(N_RECENT)
        for user in range(N_USERS)
    ]


def _present(rng: np.random.Generator, draw: Doubles, n: int, first: int) -> list[Record]:
    users = rng.integers(N_USERS, size=n).tolist()
    items = np.searchsorted(draw, rng.random(n)).tolist()
    return [
        _event(first + m, user, item, SILENT if m % 4 else TRIGGER, NOW + m)
        for m, (user, item) in enumerate(zip(users, items, strict=True))
    ]


def _event(number: int, user: int, item: int, event_type: str, at: int) -> Record:
    user_id = f"user-{user}"
    event = {
        "event_id": f"event-{number}",
        "user_id": user_id,
        "item_id": f"item-{min(item, N_ITEMS - 1)}",
        "event_type": event_type,
        "timestamp": at,
        "context": {"device": "phone" if number % 3 else "tv"},
    }
    return Record(0, number, at, user_id.encode(), orjson.dumps(event))


def clock() -> datetime:
    """Return the wall's time: what the flows go by when they publish and forget."""
    return datetime.now(UTC)
