"""A recovery store's files: one SQLite database a partition, written by the engine and read by us as of one moment.

Of every key the engine keeps a row an epoch, and resumes from the newest that is older than its resume epoch. Which
that is, the store says itself: no epoch counts before all of its rows are written.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import EddyError
from dataflows.run.write_ahead import index_of, log_of, read_log

FIRST_EPOCH = 1
"""From which a store resumes that nothing has been written to."""
MAX_LAG = 4
"""Epochs by which a file's last commit may lie behind the flow's. Of 80 kills none left more than 2."""
TRIES, PAUSE_S = 100, 0.1
"""How often, and after which pause, a running store is looked at until no epoch ends while we look."""
TAKEN = "taken-over"
"""In a store's folder, the copy that is to take the place of its files (`dataflows.store.taking_over`)."""
_LOCKED = "locked"


class StoreError(EddyError):
    """A recovery store is not what it should be."""


class KeptState(NamedTuple):
    """A snapshot of one key of one step."""

    step_id: str
    key: str
    epoch: int
    change: bytes | None
    """The pickled state; None: the key was discarded."""


def partition_files(folder: Path) -> list[Path]:
    """List the files of a store; none where there is no store yet."""
    return sorted(folder.glob("*.sqlite3"))


def write_ahead(folder: Path) -> None:
    """Give all files of a store a log that is written ahead, as those have that the engine made.

    A copy has none, and only whoever is alone with a file can give it one. Where the processes of a cluster open it at
    once, the engine of one would find it locked and end without a word, and each log would send its reader to another.

    Raises
    ------
    StoreError : a file cannot be written.
    """
    with explained(folder):
        for path in partition_files(folder):
            with closing(open_file(path, writable=True)) as file:
                file.execute("PRAGMA journal_mode = WAL")


def size_of(folder: Path) -> int:
    """Add up the bytes of a store's files; one may go while this looks."""
    total = 0
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def open_file(path: Path, *, writable: bool = False, whole: bool = True) -> sqlite3.Connection:
    """Open one file of a store, without a transaction.

    Parameters
    ----------
    whole : False opens one that is damaged as well.

    Raises
    ------
    StoreError : what has not reached the file itself is damaged, and would be left out in silence.
    """
    if whole and read_log(path).is_torn:
        raise StoreError(
            f"{log_of(path)}: damaged, and with it the newest snapshots of this file: restore a backup (`eddy state "
            "restore`)"
        )
    mode = "rw" if writable else "ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Say in an operator's words what SQLite finds wrong with a store.

    Raises
    ------
    StoreError : the store is damaged, cannot be written, is full, or somebody else uses it.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{folder}: {error}: {_remedy(str(error))}") from error
    except OSError as error:
        raise StoreError(f"{folder}: {error}: {_remedy(str(error))}") from error


def _remedy(text: str) -> str:
    if _LOCKED in text:
        return "the store is in use; wait for `eddy state` to end, or stop the flow, and try again"
    if "readonly" in text or "unable to open" in text or "Permission" in text:
        return "allow this user to read and write the folder and the files in it"
    if "Not a directory" in text or "No such file" in text:
        return "no folder can be made there: name another one in EDDY_RECOVERY__FOLDER"
    if "full" in text or "No space" in text:
        return "make room on the disk"
    return "the store is damaged: restore a backup (`eddy state restore`), or move the folder away to start over"


class StoreMoment:
    """A store as of one moment: all rows that a flow resumed from it would start with.

    Parameters
    ----------
    files : connections, each in a read transaction.

    Raises
    ------
    StoreError : files are missing, or are those of two stores or of two moments.
    """

    def __init__(self, folder: Path, files: list[sqlite3.Connection]) -> None:
        self.folder = folder
        self.files = files
        self._check_parts()
        self.resume_epoch = resume_epoch_of(files)
        self.committed = max((n or 0 for n in _numbers(files, "SELECT max(commit_epoch) FROM commits")), default=0)
        """The newest epoch up to which a file has dropped what it supersedes."""

    @property
    def generation(self) -> int:
        """How often keys were given other names: 0 at first.

        Raises
        ------
        StoreError : that was cut off, so that some files have the new names and others have not.
        """
        found = set(_numbers(self.files, "PRAGMA application_id"))
        if len(found) > 1:
            raise StoreError(
                f"{self.folder}: its keys were being changed when that was cut off: start the same command again"
            )
        return found.pop()

    @property
    def is_whole(self) -> bool:
        """Whether no file has dropped what the flow would resume from."""
        return self.committed < self.resume_epoch

    def _check_parts(self) -> None:
        counts = _numbers(self.files, "SELECT part_count FROM parts")
        indexes = _numbers(self.files, "SELECT part_index FROM parts")
        if len(set(counts)) != 1 or len(set(indexes)) < len(indexes):
            raise StoreError(f"{self.folder}: it holds files of two stores: put back the whole of one")
        missing = sorted(set(range(counts[0])) - set(indexes))
        if missing:
            raise StoreError(
                f"{self.folder}: files are missing, of {counts[0]} the numbers {missing}: put back the whole store. It "
                "is that of process 0; all other processes of a cluster have an empty folder"
            )

    def rows(self) -> Iterator[KeptState]:
        """Return all rows that a resume may look at, newer and older of one key, in no order: the quickest way."""
        for file in self.files:
            rows = file.execute(
                "SELECT step_id, state_key, snap_epoch, ser_change FROM snaps WHERE snap_epoch < ?",
                (self.resume_epoch,),
            )
            yield from map(KeptState._make, rows)

    def newest(self) -> dict[tuple[str, str], KeptState]:
        """Return the row of each step and key from which the flow would go on; without those that were discarded."""
        found: dict[tuple[str, str], KeptState] = {}
        for row in self.rows():
            place = row.step_id, row.key
            if place not in found or row.epoch > found[place].epoch:
                found[place] = row
        return {place: row for place, row in found.items() if row.change is not None}


def resume_epoch_of(files: list[sqlite3.Connection]) -> int:
    """Return the epoch from which to resume: the oldest that a worker of the last run had not ended.

    A run that ended no epoch says nothing, or something old: a copy that slept while it opened, and woke beside its
    successor, is written down as the last run though that successor went on.
    """
    runs = [run for file in files for run in file.execute("SELECT ex_num, worker_count, resume_epoch FROM exs")]
    if not runs:
        return FIRST_EPOCH
    last_moved = last_moved_of(files)
    last, n_workers, started_at = max(run for run in runs if last_moved is None or run[0] <= last_moved)
    ends: dict[int, int] = dict.fromkeys(range(n_workers), started_at)
    for file in files:
        for worker, end in file.execute("SELECT worker_index, worker_frontier FROM fronts WHERE ex_num = ?", (last,)):
            ends[worker] = max(ends.get(worker, started_at), end)
    return min(ends.values())


def last_moved_of(files: list[sqlite3.Connection]) -> int | None:
    """Return the number of the last run of which a worker ended an epoch; None where there is none."""
    return max((n for n in _numbers(files, "SELECT max(ex_num) FROM fronts") if n is not None), default=None)


def _numbers(files: list[sqlite3.Connection], query: str) -> list[int]:
    return [number for file in files for (number,) in file.execute(query)]


@contextmanager
def reading(folder: Path) -> Iterator[StoreMoment]:
    """Look at a store as of one moment, while a flow may write to it.

    Between two epochs nothing is written. So the resume epoch is read, then every file is held as it is; where it is
    still the same, all rows before it are there.

    Raises
    ------
    StoreError : there is no store, it is damaged, or epochs end faster than one can look.
    """
    paths = partition_files(folder)
    if not paths:
        raise StoreError(f"{folder}: there is no recovery store in it")
    if (folder / TAKEN).exists():
        raise StoreError(f"{folder}: a start was cut off while it took the store over: start the flow, which ends that")
    with explained(folder), ExitStack() as stack:
        files = [stack.enter_context(closing(open_file(path))) for path in paths]
        seen: tuple[int, int] | None = None
        for _ in range(TRIES):
            before = resume_epoch_of(files)
            for file in files:
                file.execute("BEGIN")
                file.execute("SELECT count(*) FROM parts").fetchone()  # from here on it is held
            moment = StoreMoment(folder, files)
            if moment.resume_epoch == before:
                if moment.is_whole:
                    yield moment
                    return
                if seen == (before, moment.committed):
                    raise StoreError(_of_two_moments(folder))
                seen = before, moment.committed
            for file in files:
                file.execute("COMMIT")
            time.sleep(PAUSE_S)
    raise StoreError(
        f"{folder}: an epoch ended each of the {TRIES} times that it was looked at: make epochs longer "
        "(EDDY_RECOVERY__EPOCH_INTERVAL_S), or stop the flow first"
    )


def _of_two_moments(folder: Path) -> str:
    return (
        f"{folder}: its files are of different moments: some have dropped what the flow would resume from. Put back "
        "all files of one backup (`eddy state restore`)"
    )


@contextmanager
def holding(folder: Path, *, whole: bool = True) -> Iterator[list[sqlite3.Connection]]:
    """Have a store for ourselves: a flow that uses it keeps us out, one that starts is kept out.

    Parameters
    ----------
    whole : False takes a store that is damaged or incomplete as well, to be replaced.

    Yields
    ------
    A connection a file, without a transaction, and with nothing left in write-ahead logs.

    Raises
    ------
    StoreError : there is no store, or it is in use.
    """
    paths = partition_files(folder)
    if not paths:
        raise StoreError(f"{folder}: there is no recovery store in it")
    if whole and (folder / TAKEN).exists():
        raise StoreError(f"{folder}: a start was cut off while it took the store over: start the flow, which ends that")
    with explained(folder), ExitStack() as stack:
        files = [stack.enter_context(closing(open_file(path, writable=True, whole=whole))) for path in paths]
        for path, file in zip(paths, files, strict=True):
            try:
                file.execute("PRAGMA locking_mode = EXCLUSIVE")
                file.execute("PRAGMA journal_mode = DELETE")  # nobody else may have the file open for that
                file.execute("BEGIN EXCLUSIVE")
                file.execute("COMMIT")
                # Whoever only looked may have left it; without its log it would be taken for a sign of damage.
                index_of(path).unlink(missing_ok=True)
            except sqlite3.DatabaseError as error:
                if _LOCKED in str(error):
                    raise StoreError(
                        f"{folder}: a flow, or another `eddy state`, is using this recovery store: stop it first"
                    ) from error
                if whole:
                    raise
        if not whole:
            yield files
            return
        if not StoreMoment(folder, files).is_whole:
            raise StoreError(_of_two_moments(folder))
        yield files
        for file in files:
            file.execute("PRAGMA journal_mode = WAL")  # as the engine leaves it
