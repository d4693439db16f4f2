"""What the recovery stores hold of one user: read beside a running flow, and wiped of it while the flow is stopped.

The engine keeps a row a step and key in SQLite, `snaps(step_id, state_key, snap_epoch, ser_change)`; the newest counts,
and a forgotten state is a row without content. Its bytes are pickles, which only the engine's own stores are read as.
"""

import logging
import pickle
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataflows.store.files import StoreError
from dataflows.store.states import USER_STEPS
from models.config import AttributionConfig, HistoryConfig, OutcomeConfig, ProfileConfig
from models.counts.history import LearnedUser
from models.experiments.judge.user_metrics import UserMetrics
from models.online.attribution_state import AttributionState

log = logging.getLogger(__name__)

_NEWEST = """
SELECT step_id, state_key, ser_change FROM snaps AS one
WHERE snap_epoch = (SELECT MAX(snap_epoch) FROM snaps WHERE step_id = one.step_id AND state_key = one.state_key)
"""


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The newest state of a step's key."""

    step_id: str
    state_key: str
    state: Any
    """As the engine pickled it; None: forgotten."""
    packed: bytes


def files_of(folder: Path) -> list[Path]:
    """List the files of all stores in a folder, a sub-folder a flow."""
    return sorted(folder.glob("*/part-*.sqlite3"))


def newest_rows(file: Path) -> Iterator[StoredRow]:
    """Give the newest state of each step and key.

    Raises
    ------
    StoreError : the file cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            for step_id, key, change in connection.execute(_NEWEST):
                state = None if change is None else pickle.loads(change)  # noqa: S301 - the engine does the same
                yield StoredRow(step_id, key, state, change or b"")
    except (sqlite3.Error, pickle.UnpicklingError, EOFError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from error


def erased_until(row: StoredRow) -> int:
    """Return the erasure, Unix ms, that the user of a row came back after; 0: none."""
    state = row.state
    match row.step_id:
        case "recommend.profile":
            return int(state[4]) if len(state) > 4 else 0
        case "learn.transitions":
            return LearnedUser.unpack(state, ProfileConfig(), HistoryConfig()).erased_until
        case "learn.attribute":
            return AttributionState.unpack(state).erased_until
        case "evaluate.outcomes":
            return UserMetrics(OutcomeConfig(), AttributionConfig().impressions, state).erased_until
    return 0


def wipe(folder: Path, keys: Collection[str]) -> int:
    """Take forgotten rows out of one flow's store, while it is stopped, with the pages and the log that held them.

    A row whose newest content is nothing counts as forgotten: what the user has since is another row's, and stays.

    Returns
    -------
    How many rows went.
    """
    n = 0
    for file in sorted(folder.glob("part-*.sqlite3")):
        try:
            n += _wipe_file(file, keys)
        except sqlite3.OperationalError as error:
            log.warning("%s: forgotten rows stay until the next start: %s", file, error)
    return n


def _wipe_file(file: Path, keys: Collection[str]) -> int:
    n = 0
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        gone = [
            (step_id, key)
            for step_id, key, change in connection.execute(_NEWEST).fetchall()
            if change is None and step_id in USER_STEPS and key in keys
        ]
        if gone:
            for place in gone:
                n += connection.execute("DELETE FROM snaps WHERE step_id = ? AND state_key = ?", place).rowcount
            connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return n
