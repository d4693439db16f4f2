"""A recovery store that does not hold what was written to it is refused before anything is consumed."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from dataflows.errors import EddyError
from dataflows.run.engine_failures import PeerError, explained
from dataflows.run.recovery_store import check_files, make_folder
from dataflows.store.files import StoreError

PANIC = "(src/run.rs:167:13) called `Result::unwrap()` on an `Err` value: SqliteFailure(Error { code:"


def a_killed_store(folder: Path, n_epochs: int = 12) -> Path:
    """Return a store as a killed flow leaves it: what it wrote last is in the logs alone."""
    live = folder / "live"
    live.mkdir(parents=True)
    init_db_dir(live, 2)
    with ExitStack() as stack:
        files = sorted(live.glob("part-*.sqlite3"))
        connections = [stack.enter_context(closing(sqlite3.connect(file))) for file in files]
        for epoch in range(1, n_epochs + 1):
            for index, connection in enumerate(connections):
                state = (f"u-{index}", epoch, b"x" * 3_000)
                with connection:
                    connection.execute(
                        "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES ('s', ?, ?, ?)", state
                    )
                with connection:
                    connection.execute(
                        "INSERT INTO commits (part_index, commit_epoch) VALUES (?, ?) "
                        "ON CONFLICT (part_index) DO UPDATE SET commit_epoch = excluded.commit_epoch",
                        (index, epoch),
                    )
        shutil.copytree(live, folder / "store")
    return folder / "store"


def overwrite(file: Path, at: int, n: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(b"\xa5" * n)


def states(folder: Path) -> int:
    n = 0
    for file in folder.glob("part-*.sqlite3"):
        with closing(sqlite3.connect(file)) as connection:
            n += connection.execute("SELECT count(*) FROM snaps").fetchone()[0]
    return n


def test_a_store_that_a_killed_flow_leaves_is_in_order_and_stays_as_it_is(tmp_path: Path):
    store = a_killed_store(tmp_path)
    before = {file.name: file.stat().st_size for file in store.glob("*-wal")}
    check_files(store)
    check_files(store)
    assert {file.name: file.stat().st_size for file in store.glob("*-wal")} == before
    assert states(store) == 24


def test_a_folder_without_a_store_is_in_order(tmp_path: Path):
    check_files(tmp_path)
    check_files(tmp_path / "not-there")


def test_a_last_transaction_that_was_cut_short_is_in_order(tmp_path: Path):
    store = a_killed_store(tmp_path)
    log = store / "part-0.sqlite3-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 100)
    check_files(store)


def test_a_log_that_was_begun_anew_is_in_order(tmp_path: Path):
    store = a_killed_store(tmp_path / "one", 40)
    with closing(sqlite3.connect(store / "part-0.sqlite3")) as connection:
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        with connection:
            connection.execute("UPDATE commits SET commit_epoch = 41")
        shutil.copytree(store, tmp_path / "two")  # with old frames behind the new ones
    check_files(tmp_path / "two")


def test_copies_that_look_at_once_find_nothing(tmp_path: Path):
    """`eddy chaos` found it: one let go of a lock by looking, and the other began the index anew meanwhile."""
    store = a_killed_store(tmp_path)
    look = (
        "import pathlib, sys; from dataflows.run.recovery_store import check_files\n"
        "for _ in range(100): check_files(pathlib.Path(sys.argv[1]))"
    )
    copies = [
        subprocess.Popen([sys.executable, "-c", look, store], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [copy.communicate()[1] for copy in copies] == ["", "", ""]


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda file: overwrite(log(file), 0, 32), "the beginning of part-.*-wal was overwritten"),
        (lambda file: overwrite(log(file), 20, 1), "the beginning of part-.*-wal was overwritten"),
        (lambda file: overwrite(log(file), 60_000, 10), "transactions of it are lost"),
        (lambda file: log(file).unlink(), "-wal is gone, which holds what was written last"),
        (lambda file: log(file).write_bytes(b""), "ends with snapshot 0, where another file of it ends with 12"),
        (lambda file: log(file).write_bytes(log(file).read_bytes()[:60_000]), "where another file of it ends with 12"),
        (lambda file: [log(file).unlink(), index(file).unlink()], "where another file of it ends with 12"),
        (lambda file: [log(file).unlink(), index(file).unlink(), file.write_bytes(b"")], "no such table"),
        (lambda file: [log(file).unlink(), index(file).unlink(), overwrite(file, 0, 4_000)], "not a database"),
        (lambda file: [log(file).unlink(), index(file).unlink(), overwrite(file, 4_096, 4_096)], r"damaged: "),
    ],
)
def test_damage_is_told_from_a_crash(tmp_path: Path, part: int, damage: Callable[[Path], object], words: str):
    store = a_killed_store(tmp_path)
    damage(store / f"part-{part}.sqlite3")
    with pytest.raises(StoreError, match=words) as raised:
        check_files(store)
    assert "Put back a backup" in str(raised.value)


def log(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def index(file: Path) -> Path:
    return file.with_name(f"{file.name}-shm")


def test_only_its_user_may_look_into_a_store(tmp_path: Path):
    make_folder(tmp_path / "recovery" / "learn")
    assert (tmp_path / "recovery" / "learn").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("words", "kind", "remedy"),
    [
        (
            f'{PANIC} DiskFull, extended_code: 13 }}, Some("database or disk is full"))',
            StoreError,
            "is full. Look",
        ),
        (f'{PANIC} DatabaseCorrupt, extended_code: 11 }}, Some("malformed"))', StoreError, "Put back a backup"),
        ("Send thread panic: Any { .. }", PeerError, "Start all of its processes again"),
        (
            "failed to initialize networking: Address already in use (os error 98)",
            EddyError,
            "its place in the cluster: Address already in use (os error 98). EDDY_CLUSTER__ADDRESSES",
        ),
    ],
)
def test_what_the_engine_ends_with_is_told_in_words_that_help(
    tmp_path: Path, words: str, kind: type[Exception], remedy: str
):
    told = explained(RuntimeError(words), tmp_path)
    assert isinstance(told, kind)
    assert remedy in str(told)


def test_a_failure_that_nobody_knows_is_not_explained(tmp_path: Path):
    assert explained(RuntimeError("index out of bounds"), tmp_path) is None
