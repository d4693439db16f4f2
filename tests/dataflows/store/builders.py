"""Recovery stores with defaults, and what happens to them."""

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bytewax.recovery import init_db_dir

from dataflows.store.states import unpickle

PROFILES = "recommend.profile"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as file:
        yield file
        file.commit()


def files_of(store: Path) -> list[Path]:
    return sorted(store.glob("*.sqlite3"))


def a_store(folder: Path, rows: list[tuple[str, str, int, Any]], n_files: int = 2, resume_epoch: int = 10) -> Path:
    """Make a store that holds rows of (step, key, epoch, state), in turn in its files; None discards a key."""
    folder.mkdir(parents=True)
    init_db_dir(folder, n_files)
    for number, path in enumerate(files_of(folder)):
        with opened(path) as file:
            if number == 0:
                file.execute("INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (0, 1, 1)")
                file.execute(
                    "INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (0, 0, ?)", (resume_epoch,)
                )
            file.executemany(
                "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)",
                [
                    (step, key, epoch, None if state is None else pickle.dumps(state))
                    for step, key, epoch, state in rows[number::n_files]
                ],
            )
    return folder


def query(store: Path, sql: str, *arguments: Any) -> list[Any]:
    found: list[Any] = []
    for path in files_of(store):
        with opened(path) as file:
            found += file.execute(sql, arguments).fetchall()
    return found


def keys_of(store: Path, step: str = PROFILES) -> list[str]:
    return sorted(key for (key,) in query(store, "SELECT state_key FROM snaps WHERE step_id = ?", step))


def change_states(store: Path, step: str, change: Any) -> None:
    """Replace each state of a step by what a function makes of it."""
    for path in files_of(store):
        with opened(path) as file:
            rows = file.execute("SELECT rowid, ser_change FROM snaps WHERE step_id = ?", (step,)).fetchall()
            file.executemany(
                "UPDATE snaps SET ser_change = ? WHERE rowid = ?",
                [(pickle.dumps(change(unpickle(packed))), row) for row, packed in rows],
            )
