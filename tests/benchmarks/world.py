"""A made-up shop for the benchmarks: its item table, what its users did before, and what they do now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

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
_PART = 5_000
"""Items of a chunk: what a process applies between two batches is of that order."""
_SEGMENTS = ("all", "device=phone", "device=tv")


@dataclass(frozen=True, slots=True)
class World:
    """What every measurement shares."""

    table: ItemTable
    past: list[Record]
    """15 views of each user who has a past: they fill the profiles before the clock starts, and make no slate."""
    present: list[Record]
    """The events that are timed."""


class Chunk(NamedTuple):
    """Some of what a table learns at once: entries of the catalog, or rows of `model-updates`."""

    items: list[Item]
    keys: list[bytes]
    rows: list[bytes | None]

    def fill(self, table: ItemTable) -> None:
        """Apply it as a process does that reads the topics."""
        if self.items:
            table.apply_items(self.items, [])
        if self.keys:
            table.apply_rows(self.keys, self.rows)


def make_world(
    n_events: int, seed: int = 0, *, n_items: int = N_ITEMS, n_users: int = N_USERS, n_with_past: int = N_USERS
) -> World:
    """Make the shop; the same seed makes the same one.

    Parameters
    ----------
    n_users : who act in the present.
    n_with_past : the first of them, who had a past; more than there are users: all.
    """
    rng = np.random.default_rng(seed)
    table = ItemTable(NOW, capacity=2 * n_items, n_neighbours=N_NEIGHBOURS)
    shelf, popularity = shelves(rng, n_items)
    for chunk in chunks(rng, shelf, popularity):
        chunk.fill(table)
    return World(table, *events_of(rng, popularity, n_events, n_users, n_with_past))


def events_of(
    rng: np.random.Generator, popularity: Doubles, n_events: int, n_users: int, n_with_past: int = N_USERS
) -> tuple[list[Record], list[Record]]:
    """Draw a past and a present."""
    draw = np.cumsum(popularity) / popularity.sum()
    past = _past(rng, draw, min(n_users, n_with_past))
    return past, _present(rng, draw, n_events, len(past), n_users)


def shelves(rng: np.random.Generator, n_items: int) -> tuple[Int64s, Doubles]:
    """Draw the shelf and the popularity of each item: (N,) and (N,)."""
    return rng.integers(_N_SHELVES, size=n_items), 1.0 / rng.permutation(np.arange(1, n_items + 1)) ** 0.8


def chunks(rng: np.random.Generator, shelf: Int64s, popularity: Doubles) -> Iterator[Chunk]:
    """Make all that the table learns: the catalog, then rows, some thousands of either at once."""
    n_items = len(shelf)
    ids = [f"item-{n}" for n in range(n_items)]
    hashes = hash_all(ids)
    for part in _parts(n_items):
        yield Chunk([_item(rng, ids[n], int(shelf[n])) for n in part], [], [])
    on_shelf = [np.flatnonzero(shelf == s) for s in range(_N_SHELVES)]
    centres = rng.normal(size=(_N_SHELVES, _DIMENSIONS))
    for part in _parts(n_items):
        chunk = Chunk([], [], [])
        for n in part:
            neighbours = rng.choice(on_shelf[shelf[n]], N_NEIGHBOURS)
            neighbours[::5] = rng.integers(n_items, size=len(neighbours[::5]))
            weights = rng.exponential(size=(2, N_NEIGHBOURS)).astype(np.float32)
            weights.sort(axis=1)
            chunk.keys.append(f"neighbours/{ids[n]}".encode())
            chunk.rows.append(
                NeighboursRow(
                    ids[n],
                    version=1,
                    reference_at=NOW,
                    first_seen_at=NOW - 30 * DAY_MS,
                    popularity=(1e3 * popularity[n], 1e4 * popularity[n]),
                    neighbours=WeighedItems(hashes[neighbours], weights[0, ::-1], weights[1, ::-1]),
                ).pack()
            )
            vector = centres[shelf[n]] + rng.normal(size=_DIMENSIONS)
            chunk.keys.append(f"content/{ids[n]}".encode())
            unit = np.rint(127 * vector / np.linalg.norm(vector)).astype(np.int8)
            chunk.rows.append(ContentRow(ids[n], 1, unit).pack())
        yield chunk
    yield _trends_and_sessions(rng, popularity, hashes)


def _parts(n: int) -> Iterator[range]:
    return (range(first, min(first + _PART, n)) for first in range(0, n, _PART))


def _trends_and_sessions(rng: np.random.Generator, popularity: Doubles, hashes: Int64s) -> Chunk:
    chunk = Chunk([], [], [])
    best = np.argsort(-popularity)[:_N_TRENDING]
    for segment in _SEGMENTS:
        chunk.keys.append(f"trending/{segment}/0".encode())
        chunk.rows.append(
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
        chunk.keys.append(row.key.encode())
        chunk.rows.append(row.pack())
    return chunk


def _walks(rng: np.random.Generator, popularity: Doubles) -> Int64s:
    """(S, 11) items of the newest session of so many visitors."""
    draw = np.cumsum(popularity) / popularity.sum()
    return _drawn(draw, rng.random((N_SESSIONS, LENGTH)))


def _drawn(draw: Doubles, at: Doubles) -> Int64s:
    return np.minimum(np.searchsorted(draw, at), len(draw) - 1)


def _item(rng: np.random.Generator, item_id: str, shelf: int) -> Item:
    return Item(
        item_id,
        title=f"Thing {item_id}",
        categories=[f"department-{shelf % _N_DEPARTMENTS}", f"shelf-{shelf}"],
        tags=[f"tag-{tag}" for tag in rng.integers(_N_TAGS, size=2)],
        price=float(rng.integers(1, 200)),
        created_at=NOW - int(rng.integers(365)) * DAY_MS,
    )


def _past(rng: np.random.Generator, draw: Doubles, n_users: int) -> list[Record]:
    items = _drawn(draw, rng.random((N_RECENT, n_users)))
    start = NOW - HOUR_MS
    return [
        _event(turn * n_users + user, user, int(items[turn, user]), SILENT, start + turn * 60_000 + user)
        for turn in range(N_RECENT)
        for user in range(n_users)
    ]


def _present(rng: np.random.Generator, draw: Doubles, n: int, first: int, n_users: int) -> list[Record]:
    users = rng.integers(n_users, size=n).tolist()
    items = _drawn(draw, rng.random(n)).tolist()
    return [
        _event(first + m, user, item, SILENT if m % 4 else TRIGGER, NOW + m)
        for m, (user, item) in enumerate(zip(users, items, strict=True))
    ]


def _event(number: int, user: int, item: int, event_type: str, at: int) -> Record:
    user_id = f"user-{user}"
    event = {
        "event_id": f"event-{number}",
        "user_id": user_id,
        "item_id": f"item-{item}",
        "event_type": event_type,
        "timestamp": at,
        "context": {"device": "phone" if number % 3 else "tv"},
    }
    return Record(0, number, at, user_id.encode(), orjson.dumps(event))


def clock() -> datetime:
    """Return the wall's time: what the flows go by when they publish and forget."""
    return datetime.now(UTC)
