"""Erasures as records, and what a recovery store holds."""

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from dataflows.records import Record


def an_erasure(user: str = "u", at: int = 0, number: int = 0) -> Record:
    erasure = {"erasure_id": f"x-{user}-{number}", "user_id": user, "requested_at": at}
    return Record(0, number, at, user.encode(), orjson.dumps(erasure))


def rows_of(store: Path) -> Iterator[tuple[str, str, bytes | None]]:
    """Give step, state key and pickled state of all rows, forgotten ones included."""
    for file in sorted(store.glob("part-*.sqlite3")):
        with sqlite3.connect(file) as connection:
            yield from connection.execute("SELECT step_id, state_key, ser_change FROM snaps ORDER BY snap_epoch")


def states_of(store: Path, step: str) -> list[Any]:
    """Give a step's states."""
    rows = rows_of(store)
    return [pickle.loads(state) for name, _, state in rows if state and name.endswith(f".{step}")]  # noqa: S301
