"""Spreads a store's keys over more files where there are too many in each for the engine to resume from quickly.

The engine reads a file page by page, and looks at all of the file's keys for each page. So a resume takes the square of
the keys of a file, and time in proportion to the users alone where files grow in number and not in size.

A row belongs into the file that the hash of its step and key says, for that is where the engine writes the key's next
row and drops this one. The engine does not say which hash that is. So every row is looked up first where it lies: a
store whose rows lie anywhere else is left as it is.

References
----------
SeaHash 4.1, by T. Jung: https://docs.rs/seahash/4.1.0
"""

import logging
import sqlite3
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import rmtree
from typing import Any

from bytewax.recovery import init_db_dir

from dataflows.store.backup import sync
from dataflows.store.files import TAKEN, explained, open_file, partition_files
from dataflows.store.taking_over import put_in_place

log = logging.getLogger(__name__)

MAX_ROWS = 10_000
"""Of a file, beyond which there are to be more files."""
MAX_FILES = 256
"""Each is synced to the disk at every snapshot."""
_AT_ONCE = 1_000
"""Rows."""
_WORD, _PRIME = 2**64 - 1, 0x6EED0E9DA4D94A4F
_SEEDS = (0x16F11FE89B0D677C, 0xB480A793D8E6C86C, 0x6FE2E5AAF078EBC9, 0x14F994A4C5259381)
_TABLES = {
    "exs": "created_at, ex_num, worker_count, resume_epoch",
    "fronts": "created_at, ex_num, worker_index, worker_frontier",
    "snaps": "step_id, state_key, created_at, snap_epoch, ser_change",
}
"""Columns of the engine's tables."""


class _ElsewhereError(Exception):
    """A row lies where its hash does not say."""


def spread(folder: Path, max_rows: int = MAX_ROWS) -> int:
    """Give a store so many files that none has more rows than it should.

    The store has to be ours alone. Cut off at any point, the next start ends it (`end_take_over`), or begins again.

    Returns
    -------
    How many files the store has now.

    Raises
    ------
    StoreError : the store is damaged, or its disk is full.
    """
    work = folder / f"{TAKEN}.unfinished"
    with explained(folder), ExitStack() as stack:
        files = [stack.enter_context(closing(open_file(path))) for path in partition_files(folder)]
        most = max((file.execute("SELECT count(*) FROM snaps").fetchone()[0] for file in files), default=0)
        n = len(files)
        while most * len(files) > max_rows * n and 2 * n <= MAX_FILES:
            n *= 2
        if n == len(files):
            return n
        rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        init_db_dir(work, n)  # type: ignore[no-untyped-call]
        try:
            for file in files:
                _spread_file(file, len(files), work, n)
        except _ElsewhereError:
            rmtree(work)
            log.warning("%s: %d rows in a file, and not where they should be: a resume takes long", folder, most)
            return len(files)
        sync(work)
        work.rename(folder / TAKEN)
    put_in_place(folder)
    log.info("%s: its keys are spread over %d files, for there were %d rows in one", folder, n, most)
    return n


def _spread_file(file: sqlite3.Connection, n_before: int, work: Path, n: int) -> None:
    """Write what a file holds into those of `n` files that take its place.

    Raises
    ------
    _ElsewhereError : it holds rows of another file.
    """
    ((own,),) = file.execute("SELECT part_index FROM parts")
    (commit,) = file.execute("SELECT max(commit_epoch) FROM commits").fetchone()
    ((generation,),) = file.execute("PRAGMA application_id")
    with ExitStack() as stack:
        heirs: dict[int, sqlite3.Connection] = {}
        for index in range(own, n, n_before):
            heir = heirs[index] = stack.enter_context(closing(open_file(work / f"part-{index}.sqlite3", writable=True)))
            heir.execute("PRAGMA journal_mode = DELETE")
            heir.execute("PRAGMA synchronous = OFF")  # all is synced once it is written
            heir.execute(f"PRAGMA application_id = {generation:d}")
            heir.execute("BEGIN")
            if commit is not None:
                heir.execute("INSERT INTO commits (part_index, commit_epoch) VALUES (?, ?)", (index, commit))
        for table in ("exs", "fronts"):
            _insert(heirs[own], table, _rows(file, table).fetchall())
        # In the order of the keys, so that indexes are written from their beginning to their end.
        rows = _rows(file, "snaps", " ORDER BY step_id, state_key, snap_epoch")
        while part := rows.fetchmany(_AT_ONCE):
            of_heir = defaultdict(list)
            for row in part:
                of_heir[hash_of(*row[:2]) % n].append(row)
            for index, rows_of_heir in of_heir.items():
                if index not in heirs:
                    raise _ElsewhereError
                _insert(heirs[index], "snaps", rows_of_heir)
        for heir in heirs.values():
            heir.execute("COMMIT")


def _rows(file: sqlite3.Connection, table: str, order: str = "") -> sqlite3.Cursor:
    return file.execute(f"SELECT {_TABLES[table]} FROM {table}{order}")  # noqa: S608 - names from above


def _insert(file: sqlite3.Connection, table: str, rows: list[Any]) -> None:
    columns = _TABLES[table]
    marks = ", ".join("?" for _ in columns.split(","))
    file.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - names from above


def hash_of(step_id: str, key: str) -> int:
    """Return the hash by which the engine chooses the file of a key: SeaHash of both texts, each with a 0xFF behind."""
    data = b"%b\xff%b\xff" % (step_id.encode(), key.encode())
    a, b, c, d = _SEEDS
    for at in range(0, len(data), 8):
        a, b, c, d = b, c, d, _diffused(a ^ int.from_bytes(data[at : at + 8], "little"))
    return _diffused(a ^ b ^ c ^ d ^ len(data))


def _diffused(x: int) -> int:
    x = x * _PRIME & _WORD
    x ^= (x >> 32) >> (x >> 60)
    return x * _PRIME & _WORD
