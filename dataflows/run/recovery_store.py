"""The recovery store of a flow: where it is, how it is made, and whether it can be gone on from."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from bytewax.recovery import RecoveryConfig, init_db_dir

from dataflows.run.settings import Settings
from dataflows.run.write_ahead import index_of, log_of, n_uncounted, read_log
from dataflows.store.files import MAX_LAG, StoreError

FILES = "part-*.sqlite3"
NEVER = timedelta(days=36_500)
"""When the engine drops superseded rows: `dataflows.store.sweeping` does so."""

log = logging.getLogger(__name__)

OF_THE_FILE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is none of its own or lacks a table; else the disk or the folder is at fault."""


def store_folder(settings: Settings, flow: str) -> Path | None:
    """Name the folder of the flow's recovery store; None where recovery is off."""
    return None if settings.recovery.folder is None else settings.recovery.folder / flow


def recovery_config(settings: Settings, flow: str) -> RecoveryConfig | None:
    """Describe the flow's recovery store for the engine, made at the first start by process 0; None: recovery is off.

    Raises
    ------
    StoreError : it cannot be made.
    """
    folder = store_folder(settings, flow)
    if folder is None:
        return None
    try:
        make_folder(folder)
        if settings.cluster.process == 0 and not any(folder.glob(FILES)):
            init_db_dir(folder, settings.recovery.partitions)  # type: ignore[no-untyped-call]
            _mark(folder, len(settings.privacy.secrets))
    except OSError as error:
        raise unusable(folder, str(error)) from error
    return RecoveryConfig(str(folder), NEVER)  # type: ignore[no-untyped-call]


def _mark(folder: Path, n_secrets: int) -> None:
    """Let a new store say how many secrets its keys are made with (`dataflows.store.persons`)."""
    for path in folder.glob(FILES):
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.execute(f"PRAGMA application_id = {n_secrets:d}")


def make_folder(folder: Path) -> None:
    """Make a folder that only this user can look into: what users did is in it.

    Raises
    ------
    OSError : it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def unusable(folder: Path, why: str) -> StoreError:
    """Say that a store cannot be written or read, and what to do."""
    return StoreError(
        f"the recovery store {folder} cannot be used: {why}. Look for a full or read-only disk and for whom the folder "
        "belongs to (EDDY_RECOVERY__FOLDER); then start the flow again: it goes on from its last snapshot, and nothing "
        "is lost"
    )


def damaged(folder: Path, why: str) -> StoreError:
    """Say that a store does not hold what was written to it, and what to do."""
    return StoreError(
        f"the recovery store {folder} is damaged: {why}. Nothing was read or written. Put back a backup of the whole "
        "folder; or move it away and start over: the flow then reads again all that its topics still hold, and writes "
        "nothing twice"
    )


def check_files(folder: Path) -> None:
    """Look whether a store holds all that was written to it, before anything is consumed; an empty folder is in order.

    The engine reads what SQLite gives it, and SQLite takes a log that is damaged or gone for one that is empty: the
    flow would go on with users' state of an earlier time, and with offsets of now.

    Raises
    ------
    StoreError : it does not, or it cannot be read; the text says what to do.
    """
    files = sorted(folder.glob(FILES))
    try:
        for file in files:
            _check_file(file)
        commits = {file: _last_commit(file) for file in files}
    except sqlite3.DatabaseError as error:
        known = damaged if error.sqlite_errorcode & 0xFF in OF_THE_FILE else unusable
        raise known(folder, str(error)) from error
    except OSError as error:
        raise unusable(folder, str(error)) from error
    reached = max(commits.values(), default=0)
    for file, committed in commits.items():
        if committed < reached - MAX_LAG:
            raise damaged(
                folder, f"{file.name} ends with snapshot {committed}, where another file of it ends with {reached}"
            )


def _check_file(file: Path) -> None:
    log = read_log(file)
    with _opened(file) as connection:
        ((found,), *_) = connection.execute("PRAGMA quick_check(1)")
        if found != "ok":
            raise damaged(file.parent, f"{file.name}: {found}")
        lost = n_uncounted(file, log)
    if read_log(file).header != log.header:
        _check_file(file)  # a copy of the flow that still runs has begun the log anew meanwhile
    elif log.is_torn:
        raise damaged(file.parent, f"the beginning of {log_of(file).name} was overwritten")
    # A crash of the machine may leave the last transaction behind a frame that never reached the disk.
    elif lost > 1:
        raise damaged(file.parent, f"{log_of(file).name} was overwritten: {lost} transactions of it are lost")


def _last_commit(file: Path) -> int:
    with _opened(file) as connection:
        ((committed,),) = connection.execute("SELECT max(commit_epoch) FROM commits")
    return committed or 0


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a file of the store so that nothing is changed by looking: the last to leave would clear its log away."""
    if index_of(file).exists() and not log_of(file).exists():
        raise damaged(file.parent, f"{log_of(file).name} is gone, which holds what was written last")
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        yield connection
