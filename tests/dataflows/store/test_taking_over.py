"""A store is taken from a copy of its flow that is alive, so that nothing it still writes reaches the heir."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from dataflows.run.recovery_store import check_files
from dataflows.run.write_ahead import log_of
from dataflows.store import taking_over
from dataflows.store.backup import back_up, restore
from dataflows.store.check import drop_unfinished
from dataflows.store.files import TAKEN, StoreError, partition_files, reading, write_ahead
from dataflows.store.taking_over import Presence, end_take_over, take_over
from tests.dataflows.store.builders import PROFILES, a_store

ROWS = [(PROFILES, f"u-{k}", epoch, {"epoch": epoch}) for epoch in (8, 9) for k in range(4)]
SLEEPER = """
import sys, time
from pathlib import Path
from dataflows.store.taking_over import Presence
here = Presence(Path(sys.argv[1]))
print("here", flush=True)
time.sleep(600)
"""


@contextmanager
def as_the_engine_has_it(store: Path) -> Iterator[list[sqlite3.Connection]]:
    """Have a store's files open as a flow has that sleeps."""
    files = [sqlite3.connect(path, isolation_level=None) for path in partition_files(store)]
    for file in files:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("SELECT count(*) FROM snaps").fetchone()
    try:
        yield files
    finally:
        for file in files:
            file.close()


def end_epoch(files: list[sqlite3.Connection], epoch: int) -> None:
    """Write what the engine does where an epoch ends: states, how far it came, and what is superseded goes."""
    for file in files:
        (state,) = file.execute("SELECT ser_change FROM snaps LIMIT 1").fetchone()
        keys = file.execute("SELECT DISTINCT step_id, state_key FROM snaps").fetchall()
        file.executemany(
            "INSERT OR REPLACE INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)",
            [(step, key, epoch, state) for step, key in keys],
        )
        file.execute("DELETE FROM snaps WHERE snap_epoch < ?", (epoch,))
        file.execute(
            "INSERT OR REPLACE INTO commits (part_index, commit_epoch) SELECT part_index, ? FROM parts", (epoch,)
        )


def a_successor_starts(store: Path, resume_epoch: int) -> None:
    """Write what the engine does at its start: another execution, from where the last one had come."""
    with closing(sqlite3.connect(partition_files(store)[0], isolation_level=None)) as file:
        file.execute("INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (1, 1, ?)", (resume_epoch,))


def moment(store: Path) -> tuple[int, list[tuple[str, int]]]:
    with reading(store) as found:
        return found.resume_epoch, sorted((row.key, row.epoch) for row in found.newest().values())


def test_what_a_replaced_copy_writes_when_it_wakes_leaves_its_heir_nothing_to_resume_from(tmp_path: Path):
    """What `eddy chaos` found at its 42nd kill, where the heir only asks who owns the store."""
    store = a_store(tmp_path / "evaluate", ROWS)
    with as_the_engine_has_it(store) as sleeper:
        a_successor_starts(store, 10)
        end_epoch(sleeper, 10)
        with pytest.raises(StoreError, match="different moments"):
            moment(store)


def test_whoever_takes_a_store_over_keeps_it_as_it_was_whatever_the_other_writes(tmp_path: Path):
    store = a_store(tmp_path / "evaluate", ROWS)
    with as_the_engine_has_it(store) as sleeper:
        before = moment(store)
        take_over(store)
        a_successor_starts(store, 10)
        end_epoch(sleeper, 10)
        check_files(store)
        assert moment(store) == before
        with as_the_engine_has_it(store) as heir:
            end_epoch(heir, 9)
            end_epoch(sleeper, 11)
        assert moment(store)[1] == [(f"u-{k}", 9) for k in range(4)]
    assert moment(store)[1] == [(f"u-{k}", 9) for k in range(4)]


def test_the_processes_of_a_cluster_can_open_a_store_at_once_that_was_taken_over(tmp_path: Path):
    """One of 40 starts of three processes ended: an engine found a file locked while another looked into it."""
    store = a_store(tmp_path / "evaluate", ROWS)
    take_over(store)
    write_ahead(store)
    for path in partition_files(store):
        with closing(sqlite3.connect(path)) as peer, closing(sqlite3.connect(path, timeout=0)) as engine:
            peer.execute("BEGIN")
            peer.execute("SELECT count(*) FROM snaps").fetchone()
            assert engine.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)  # the first that the engine does


def test_what_the_other_had_written_but_not_moved_from_its_log_is_taken_along(tmp_path: Path):
    store = a_store(tmp_path / "evaluate", ROWS)
    with as_the_engine_has_it(store) as sleeper:
        (state,) = sleeper[0].execute("SELECT ser_change FROM snaps LIMIT 1").fetchone()
        sleeper[0].execute(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, 'new', 9, ?)", (PROFILES, state)
        )
        assert log_of(partition_files(store)[0]).stat().st_size > 0
        take_over(store)
        assert ("new", 9) in moment(store)[1]


@pytest.mark.parametrize("n_placed", [0, 1, 2])
def test_a_take_over_that_was_cut_off_is_ended_by_the_next_start(
    n_placed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = a_store(tmp_path / "evaluate", ROWS)
    before, replace = moment(store), Path.replace
    left = [n_placed]

    def cut_off(path: Path, target: Path) -> Path:
        if path.parent.name == TAKEN and not left[0]:
            raise KeyboardInterrupt
        left[0] -= path.parent.name == TAKEN
        return replace(path, target)

    with as_the_engine_has_it(store) as sleeper:
        monkeypatch.setattr(Path, "replace", cut_off)
        if n_placed < 2:
            with pytest.raises(KeyboardInterrupt):
                take_over(store)
        else:
            take_over(store)
        monkeypatch.undo()
        end_epoch(sleeper, 10)
        end_take_over(store)
        check_files(store)
        assert moment(store) == before
    assert not (store / TAKEN).exists()


def test_the_living_are_told_from_the_dead(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", SLEEPER, tmp_path], stdout=subprocess.PIPE, text=True) as sleeper:
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        with closing(Presence(tmp_path)) as heir:
            assert len(heir.others(tmp_path)) == 1
            sleeper.kill()
            sleeper.wait()
            assert heir.others(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [heir.name]


def test_one_that_came_later_is_a_peer_and_no_copy_that_was_replaced(tmp_path: Path):
    with closing(Presence(tmp_path)) as first:
        time.sleep(0.05)
        with closing(Presence(tmp_path)) as second:
            assert first.others(tmp_path) == []
            assert second.others(tmp_path) == [first.name]
            first.close()
            assert second.others(tmp_path) == []


def test_two_starts_do_not_take_over_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(taking_over, "WAIT_S", 0.2)
    store = a_store(tmp_path / "evaluate", ROWS)
    with (
        taking_over.alone(store),
        pytest.raises(StoreError, match="another start of the flow is taking the store over"),
    ):
        take_over(store)


def end_epochs_until(store: Path, run: int, epoch: int) -> None:
    """Write how far a run has come."""
    with closing(sqlite3.connect(partition_files(store)[0], isolation_level=None)) as file:
        file.execute(
            "INSERT OR REPLACE INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, 0, ?)", (run, epoch)
        )


def test_a_run_that_woke_late_and_ended_no_epoch_is_not_resumed_from(tmp_path: Path):
    """It is written down as the last one, from where its successor has long gone on."""
    store = a_store(tmp_path / "evaluate", ROWS)
    a_successor_starts(store, 10)
    end_epochs_until(store, 1, 14)
    with closing(sqlite3.connect(partition_files(store)[0], isolation_level=None)) as file:
        file.execute("INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (2, 1, 10)")
        file.execute("INSERT OR REPLACE INTO commits (part_index, commit_epoch) SELECT part_index, 13 FROM parts")
    assert moment(store)[0] == 14
    drop_unfinished(store)
    with closing(sqlite3.connect(partition_files(store)[0])) as file:
        assert file.execute("SELECT max(ex_num) FROM exs").fetchall() == [(1,)]  # which is what the engine goes by


def test_what_a_cut_off_copy_left_is_cleared_away_and_holds_nobody_s_state(tmp_path: Path):
    store = a_store(tmp_path / "evaluate", ROWS)
    (store / f"{TAKEN}.unfinished").mkdir()
    (store / f"{TAKEN}.unfinished" / "part-0.sqlite3").write_bytes(b"u-1")
    end_take_over(store)
    assert not list(store.glob(f"{TAKEN}*"))


def test_a_store_that_is_being_taken_over_is_not_looked_into_and_a_restore_ends_that(tmp_path: Path):
    store = a_store(tmp_path / "evaluate", ROWS)
    back_up(store, tmp_path / "backup", lambda _: None)
    back_up(store, store / TAKEN, lambda _: None)
    with pytest.raises(StoreError, match="start the flow, which ends that"):
        moment(store)
    restore(tmp_path / "backup", store, lambda _: None)
    assert moment(store)[0] == 10
