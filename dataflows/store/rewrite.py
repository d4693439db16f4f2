"""Changes a store while no flow runs: drops what nobody resumes from, and gives keys other names."""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, starmap
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from dataflows.store.files import StoreError, holding, partition_files, resume_epoch_of

Report = Callable[[str], object]
"""Is told what is done."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction came to."""

    bytes_before: int
    bytes_after: int
    dropped: int
    """Rows that no resume would have looked at."""
    kept: int


def compact(folder: Path, report: Report) -> Compacted:
    """Drop superseded rows and those of discarded keys, and leave nothing of what they held in the files.

    The engine drops what a key supersedes within a file as epochs end, never the last row of a discarded key, and
    leaves the room that was freed in the file. Cut off at any point, the store is as good as before.

    Raises
    ------
    StoreError : there is no store, it is in use, damaged, or the disk is full.
    """
    paths = partition_files(folder)
    before = sum(path.stat().st_size for path in paths)
    os.environ.setdefault("SQLITE_TMPDIR", str(folder.absolute()))  # the copy that VACUUM makes stays on this disk
    with holding(folder) as files:
        report("looking for rows that nobody resumes from")
        dropped = _drop(files)
        for number, file in enumerate(files, 1):
            report(f"writing file {number} of {len(files)} anew")
            file.execute("PRAGMA secure_delete = ON")
            file.execute("VACUUM")
        kept = sum(file.execute("SELECT count(*) FROM snaps").fetchone()[0] for file in files)
    return Compacted(before, sum(path.stat().st_size for path in paths), dropped, kept)


class _Place(NamedTuple):
    """A row and where it lies."""

    step_id: str
    key: str
    epoch: int
    file: int
    rowid: int
    discards: int
    """1 where the row says that the key was discarded."""


def _places(number: int, file: sqlite3.Connection) -> Iterator[_Place]:
    """Go through a file in the order of its keys and epochs, without the states."""
    yield from map(
        _Place._make,
        file.execute(
            "SELECT step_id, state_key, snap_epoch, ?, rowid, ser_change IS NULL FROM snaps "
            "ORDER BY step_id, state_key, snap_epoch",
            (number,),
        ),
    )


def _drop(files: list[sqlite3.Connection]) -> int:
    """Drop all rows but the newest of each key that a resume reads, and that one too where it discards the key.

    A key whose name was changed may have rows in two files, so the files are gone through side by side. Rows that
    discard a key go last of all: should we be cut off in between, no older row of that key comes to life again.
    """
    epoch = resume_epoch_of(files)
    superseded: list[_Place] = []
    discarded: list[_Place] = []
    for _, rows in groupby(merge(*starmap(_places, enumerate(files))), itemgetter(0, 1)):
        *older, newest = rows
        while older and newest.epoch >= epoch:  # of an epoch that never ended
            superseded.append(newest)
            newest = older.pop()
        superseded += older
        if newest.epoch >= epoch:
            superseded.append(newest)
        elif newest.discards:
            discarded.append(newest)
    for places in (superseded, discarded):
        for number, file in enumerate(files):
            with _transaction(file):
                rowids = ((place.rowid,) for place in places if place.file == number)
                file.executemany("DELETE FROM snaps WHERE rowid = ?", rowids)
    _drop_former_runs(files)
    return len(superseded) + len(discarded)


def _drop_former_runs(files: list[sqlite3.Connection]) -> None:
    """Drop what is kept of runs before the last one, which alone says where a resume begins."""
    (last,) = max(run or (-1,) for file in files for run in file.execute("SELECT ifnull(max(ex_num), -1) FROM exs"))
    for file in files:
        with _transaction(file):
            file.execute("DELETE FROM fronts WHERE ex_num < ?", (last,))
            file.execute("DELETE FROM exs WHERE ex_num < ?", (last,))


@contextmanager
def _transaction(file: sqlite3.Connection) -> Iterator[None]:
    """Do all or nothing."""
    file.execute("PRAGMA secure_delete = ON")
    file.execute("BEGIN")
    try:
        yield
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


def map_keys(folder: Path, steps: Collection[str], new_key: Callable[[str], str | None], generation: int) -> int:
    """Give all keys of some steps other names; return how many there are.

    Each file is changed wholly or not at all, and holds the generation that it is of. So after a crash the same call
    goes on with the files that are left.

    Parameters
    ----------
    steps : such as `dataflows.store.states.USER_STEPS`.
    new_key : makes the new name of the old; None drops the key. Two keys never have one new name.
    generation : one more than the store's; kept with it.

    Raises
    ------
    StoreError : the store is in use, of another generation, or two keys would have one name.
    """
    n_keys = 0
    named: dict[str, str] = {}
    with holding(folder) as files:
        for file in files:
            ((held,),) = file.execute("PRAGMA application_id")
            if held == generation:
                continue
            if held != generation - 1:
                raise StoreError(f"{folder}: its keys are of generation {held}: they cannot become {generation}")
            with _transaction(file):
                for step in steps:
                    n_keys += _map_step(file, step, new_key, named)
                file.execute(f"PRAGMA application_id = {generation:d}")
    return n_keys


def _map_step(file: sqlite3.Connection, step: str, new_key: Callable[[str], str | None], named: dict[str, str]) -> int:
    """Rename the keys of one step in one file, by way of rows apart: a new name may be another key's old one.

    Parameters
    ----------
    named : old keys by their new names, of all files so far.
    """
    keys = [key for (key,) in file.execute("SELECT DISTINCT state_key FROM snaps WHERE step_id = ?", (step,))]
    names = [(new_key(key), key) for key in keys]
    if any(named.setdefault(name, key) != key for name, key in names if name is not None):
        raise StoreError(f"{step}: two keys would have one name")
    file.execute("CREATE TEMP TABLE named (name TEXT, key TEXT PRIMARY KEY) STRICT")
    file.executemany("INSERT INTO temp.named VALUES (?, ?)", names)
    file.execute(
        "CREATE TEMP TABLE moved AS SELECT name, created_at, snap_epoch, ser_change FROM main.snaps "
        "JOIN temp.named ON key = state_key WHERE step_id = ? AND name IS NOT NULL",
        (step,),
    )
    file.execute("DELETE FROM main.snaps WHERE step_id = ?", (step,))
    file.execute(
        "INSERT INTO main.snaps (step_id, state_key, created_at, snap_epoch, ser_change) "
        "SELECT ?, name, created_at, snap_epoch, ser_change FROM temp.moved",
        (step,),
    )
    file.execute("DROP TABLE temp.moved")
    file.execute("DROP TABLE temp.named")
    return len(keys)
