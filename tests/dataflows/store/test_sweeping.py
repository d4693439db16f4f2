"""Rows that newer ones supersede go, beside a flow that writes; nothing that a resume would take does."""

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dataflows.run.recovery_store import check_files
from dataflows.store import sweeping
from dataflows.store.files import MAX_LAG, open_file, partition_files, reading
from dataflows.store.sweeping import GOODBYE, Sweeper, Sweeping
from tests.dataflows.store.builders import a_store, query

STEP = "recommend.profile"
Row = tuple[str, str, int, object]


@contextmanager
def sweeper_of(store: Path) -> Iterator[Sweeper]:
    sweeper = Sweeper(store)
    try:
        yield sweeper
    finally:
        sweeper.close()


def rows_of(store: Path) -> set[tuple[str, int]]:
    return set(query(store, "SELECT state_key, snap_epoch FROM snaps"))


def write(store: Path, keys: list[str], epoch: int, *, ends: bool = True) -> None:
    """Write rows of an epoch as the engine does, each into its key's file, and end the epoch."""
    paths = partition_files(store)
    for key in keys:
        with closing(open_file(paths[int(key) % len(paths)], writable=True)) as file:
            file.execute("INSERT INTO snaps (step_id, state_key, snap_epoch) VALUES (?, ?, ?)", (STEP, key, epoch))
    if ends:
        with closing(open_file(paths[0], writable=True)) as file:
            file.execute("UPDATE fronts SET worker_frontier = ?", (epoch + 1,))


def needed(rows: set[tuple[str, int]], resume: int) -> set[tuple[str, int]]:
    """What a resume takes, and what it has not come to yet."""
    newest: dict[str, int] = {}
    for key, epoch in rows:
        if epoch < resume:
            newest[key] = max(epoch, newest.get(key, 0))
    return set(newest.items()) | {(key, epoch) for key, epoch in rows if epoch >= resume}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_superseded_goes_as_it_comes_and_nothing_else(tmp_path: Path, seed: int):
    rng = random.Random(seed)  # noqa: S311 - no secret is made of it
    store = a_store(tmp_path / "store", [], n_files=3, resume_epoch=1)
    written: set[tuple[str, int]] = set()
    with sweeper_of(store) as sweeper:
        for epoch in range(1, 40):
            keys = [str(key) for key in range(12) if rng.random() < 0.4]
            ends = rng.random() < 0.8
            write(store, keys, epoch, ends=ends)
            written |= {(key, epoch) for key in keys}
            if ends:
                resume = epoch + 1
            if rng.random() < 0.6:
                sweeper.sweep()
                if ends:
                    assert rows_of(store) == needed(written, resume)
    with sweeper_of(store) as another:  # of the next start, which has to look at all
        another.sweep()
    assert rows_of(store) == needed(written, resume)


def test_a_row_of_an_epoch_that_has_not_ended_takes_nothing_with_it_until_it_has(tmp_path: Path):
    store = a_store(tmp_path / "store", [], resume_epoch=1)
    write(store, ["0"], 1)
    with sweeper_of(store) as sweeper:
        sweeper.sweep()
        write(store, ["0"], 2, ends=False)
        write(store, ["1"], 2, ends=False)
        assert sweeper.sweep() == 0
        assert rows_of(store) == {("0", 1), ("0", 2), ("1", 2)}
        write(store, [], 2)
        assert sweeper.sweep() == 1
    assert rows_of(store) == {("0", 2), ("1", 2)}


def test_a_look_goes_by_what_has_come_and_not_by_how_much_there_is(tmp_path: Path):
    store = a_store(tmp_path / "store", [(STEP, str(n), 1, n) for n in range(1_000)], n_files=1, resume_epoch=2)
    with sweeper_of(store) as sweeper:
        sweeper.sweep()
        write(store, ["7"], 2)
        statements: list[str] = []
        sweeper._files[0].set_trace_callback(statements.append)
        assert sweeper.sweep() == 1
    assert not [statement for statement in statements if "GROUP BY" in statement]
    assert len([statement for statement in statements if statement.startswith("DELETE")]) == 1


def test_files_say_until_when_they_were_swept_and_never_lag_by_more_than_a_start_bears(tmp_path: Path):
    store = a_store(tmp_path / "store", [(STEP, "1", 1, "state")], n_files=4, resume_epoch=50)
    seen: list[list[int]] = []
    with sweeper_of(store) as sweeper:
        for file in sweeper._files:
            file.set_trace_callback(lambda _: seen.append([sweeper._committed(file) for file in partitions]))
        partitions = [open_file(path) for path in partition_files(store)]
        sweeper.sweep()
        for file in partitions:
            file.close()
    assert max(max(commits) - min(commits) for commits in seen) == MAX_LAG
    assert query(store, "SELECT part_index, commit_epoch FROM commits") == [(number, 49) for number in range(4)]
    check_files(store)


def test_a_file_says_that_rows_may_be_gone_before_any_is(tmp_path: Path):
    # Whoever reads file after file (a backup, a take-over) would else take for whole what lacks a user.
    store = a_store(tmp_path / "store", [(STEP, "1", epoch, "state") for epoch in (1, 2, 3, 4)], resume_epoch=6)
    seen: list[list[int]] = []

    def look(statement: str) -> None:
        if statement.startswith("DELETE"):
            seen.append([sweeper._committed(file) for file in others])

    with sweeper_of(store) as sweeper:
        others = [open_file(path) for path in partition_files(store)]
        for file in sweeper._files:
            file.set_trace_callback(look)
        assert sweeper.sweep() == 2
        for file in others:
            file.close()
    assert seen
    assert all(commits == [5, 5] for commits in seen)


def test_until_when_a_file_was_swept_is_never_taken_back(tmp_path: Path):
    store = a_store(tmp_path / "store", [(STEP, "1", 1, "state")], resume_epoch=6)
    with sweeper_of(store) as lingering, sweeper_of(store) as newer:
        before = [lingering._committed(file) for file in lingering._files]
        newer.sweep()
        lingering._committed = lambda _file: before[0]  # type: ignore[method-assign]  # it slept since it looked
        lingering._commit(3)
    assert query(store, "SELECT commit_epoch FROM commits") == [(5,), (5,)]


def test_what_was_written_is_on_the_disk_as_what_the_engine_writes_is(tmp_path: Path):
    with sweeper_of(a_store(tmp_path / "store", [])) as sweeper:
        assert [file.execute("PRAGMA synchronous").fetchone() for file in sweeper._files] == [(2,), (2,)]


def test_a_file_is_held_for_some_milliseconds_whatever_its_rows_weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "HOLD_S", 0.0)
    rows: list[Row] = [(STEP, str(n), epoch, n) for epoch in (1, 2) for n in range(5)]
    store = a_store(tmp_path / "store", rows, n_files=1, resume_epoch=3)
    statements: list[str] = []
    with sweeper_of(store) as sweeper:
        sweeper._files[0].set_trace_callback(statements.append)
        assert sweeper.sweep() == 5
    assert statements.count("COMMIT") == 5


def test_a_sweep_ends_with_its_flow_and_the_next_one_does_the_rest(tmp_path: Path):
    rows: list[Row] = [(STEP, str(n), epoch, n) for epoch in (1, 2) for n in range(5)]
    store = a_store(tmp_path / "store", rows, n_files=1, resume_epoch=3)
    with closing(Sweeper(store, lambda: True)) as cut_off:
        assert cut_off.sweep() == 0
    with sweeper_of(store) as sweeper:
        assert sweeper.sweep() == 5
    assert rows_of(store) == {(str(n), 2) for n in range(5)}


def test_a_process_that_cannot_be_started_ends_no_flow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeping, "AGAIN_S", 0.05)
    store = a_store(tmp_path / "store", [(STEP, "1", epoch, "state") for epoch in (1, 2)], n_files=1)
    real, n_tries = subprocess.Popen, []

    def refused(*arguments: Any, **options: Any) -> Any:
        n_tries.append(1)
        if len(n_tries) < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*arguments, **options)

    monkeypatch.setattr(sweeping.subprocess, "Popen", refused)
    with closing(Sweeping(store)):
        deadline = time.monotonic() + 30
        while len(rows_of(store)) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert rows_of(store) == {("1", 2)}
    assert "Resource temporarily unavailable" in caplog.text


def test_whoever_waits_to_write_a_snapshot_gets_its_turn_amid_a_sweep(tmp_path: Path):
    rows: list[Row] = [(STEP, str(n // 2), 1 + n % 2, n) for n in range(20_000)]
    store = a_store(tmp_path / "store", rows, n_files=1, resume_epoch=5)
    with closing(Sweeping(store)), closing(sqlite3.connect(partition_files(store)[0], timeout=5)) as engine:
        deadline, n_written, n_left = time.monotonic() + 60, 0, 20_000
        while n_left > 10_000 + n_written and time.monotonic() < deadline:
            n_written += 1
            time.sleep(0.01)
            with engine:  # fails where it waits for longer than the engine would
                engine.execute(
                    "INSERT INTO snaps (step_id, state_key, snap_epoch) VALUES (?, ?, 4)", (STEP, f"new-{n_written}")
                )
            ((n_left,),) = engine.execute("SELECT count(*) FROM snaps")
    assert n_left == 10_000 + n_written


def test_one_that_fails_is_told_and_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeping, "AGAIN_S", 0.1)
    store = a_store(tmp_path / "store", [(STEP, "1", epoch, "state") for epoch in (1, 1 + 1)], n_files=1)
    with closing(Sweeping(store)) as running:
        deadline = time.monotonic() + 30
        while len(rows_of(store)) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running._process is not None
        running._process.kill()
        write(store, ["1"], 20)
        while len(rows_of(store)) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        ended = running._process
    assert rows_of(store) == {("1", 20)}
    assert "started again" in caplog.text
    assert ended.poll() is not None


def test_a_flow_ends_in_order_where_what_sweeps_has_ended_by_itself(tmp_path: Path):
    (tmp_path / "part-0.sqlite3").write_bytes(b"this is no database" * 100)
    with closing(Sweeping(tmp_path)) as running:
        deadline = time.monotonic() + 30
        while (running._process is None or not running._process.stdin.closed) and time.monotonic() < deadline:
            time.sleep(0.05)


def test_the_last_sweep_does_what_another_has_left(tmp_path: Path):
    store = a_store(tmp_path / "store", [(STEP, str(n), epoch, n) for n in range(9) for epoch in (1, 2)], n_files=1)
    asked: list[bool] = []

    def is_over() -> bool:
        asked.append(True)
        return len(asked) > 1  # after what is written into all files first

    with closing(Sweeper(store, is_over)) as sweeper:
        assert sweeper.sweep() == 0
        assert sweeper.sweep_last() == 9


@pytest.mark.parametrize("is_killed", [False, True])
def test_the_files_of_a_flow_that_was_killed_are_left_as_they_are(tmp_path: Path, *, is_killed: bool):
    # Whoever closes a file last takes its log into it: a start that looks at the log meanwhile would find it gone.
    store = a_store(tmp_path / "store", [(STEP, "1", epoch, "state") for epoch in (1, 2)], n_files=1)
    log = partition_files(store)[0].with_name(f"{partition_files(store)[0].name}-wal")
    command = [sys.executable, "-m", "dataflows.store.sweeping", str(store)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while len(rows_of(store)) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.stdin is not None
        if not is_killed:
            process.stdin.write(GOODBYE)
        process.stdin.close()  # as the system does where a flow is killed
        assert process.wait(30) == 0  # nothing is left running
    assert (log.exists() and log.stat().st_size > 0) == is_killed
    assert len(rows_of(store)) == 1


def test_what_a_flow_writes_at_its_end_is_not_kept_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = a_store(tmp_path / "store", [(STEP, str(n), 1, n) for n in range(50)], n_files=2)
    with closing(Sweeping(store)) as running:
        deadline = time.monotonic() + 30
        while running._process is None and time.monotonic() < deadline:
            time.sleep(0.01)
        write(store, [str(n) for n in range(50)], 20)
    assert rows_of(store) == {(str(n), 20) for n in range(50)}
    write(store, [str(n) for n in range(50)], 30)
    monkeypatch.setattr(sweeping, "LAST_S", -1.0)
    with sweeper_of(store) as sweeper:
        assert sweeper.sweep_last() == 0  # there is no time for it
    with sweeper_of(store) as sweeper:  # of the next start
        assert sweeper.sweep() == 50


def test_a_backup_while_a_store_is_swept_is_whole(tmp_path: Path):
    store = a_store(tmp_path / "store", [(STEP, str(n), epoch, n) for epoch in (1, 2) for n in range(300)], n_files=2)
    with closing(Sweeping(store)):
        deadline = time.monotonic() + 30
        n_rows = 600
        while n_rows > 300 and time.monotonic() < deadline:
            with reading(store) as moment:
                assert len(moment.newest()) == 300
            n_rows = len(rows_of(store))
    assert n_rows == 300
