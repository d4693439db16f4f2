import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from bytewax.testing import TestingSource

from dataflows.run.recovery_store import check_files
from dataflows.store.files import StoreError, holding, reading
from dataflows.store.rewrite import compact, map_keys
from tests.dataflows.store.builders import PROFILES, a_store, files_of, keys_of, query
from tests.flows.test_recommend import Run, an_event

SECRET = b"a very private taste"


def quiet(_text: str) -> None:
    pass


def generation_of(store: Path) -> int:
    with reading(store) as moment:
        return moment.generation


def written(store: Path) -> bytes:
    return b"".join(path.read_bytes() for path in store.iterdir() if path.is_file())


def test_a_flow_goes_on_from_a_compacted_store_as_from_any_other(tmp_path: Path):
    first = [an_event(number, user_id=f"u-{number % 5}") for number in range(20)]
    second = [an_event(number, user_id=f"u-{number % 5}") for number in range(20, 40)]
    run = Run([*first, TestingSource.EOF(), *second], store=tmp_path / "store").run()
    compact(tmp_path / "store", quiet)
    run.run()
    assert sorted(slate["n_events"] for slate in run["recommendations"]) == [1 + number // 5 for number in range(40)]


def test_what_no_resume_would_look_at_is_dropped_and_the_rest_is_kept(tmp_path: Path):
    rows = [
        (PROFILES, "kept", 3, b"old"),
        (PROFILES, "kept", 5, b"new"),
        (PROFILES, "gone", 3, SECRET),
        (PROFILES, "gone", 5, None),
        (PROFILES, "ahead", 5, b"ended"),
        (PROFILES, "ahead", 10, b"never ended"),
        (PROFILES, "only ahead", 12, b"never ended"),
    ]
    store = a_store(tmp_path / "store", rows, n_files=2, resume_epoch=10)
    done = compact(store, quiet)
    assert keys_of(store) == ["ahead", "kept"]
    assert sorted(query(store, "SELECT snap_epoch FROM snaps")) == [(5,), (5,)]
    assert (done.dropped, done.kept) == (5, 2)


def test_nothing_of_a_discarded_key_is_left_in_the_files(tmp_path: Path):
    rows = [(PROFILES, f"u-{n}", 3, SECRET * 300) for n in range(50)]
    store = a_store(tmp_path / "store", [*rows, *((PROFILES, f"u-{n}", 4, None) for n in range(50))])
    assert SECRET in written(store)
    done = compact(store, quiet)
    assert SECRET not in written(store)
    assert done.bytes_after < done.bytes_before


def test_a_compacted_store_resumes_from_where_it_did(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"x")], resume_epoch=10)
    compact(store, quiet)
    with reading(store) as moment:
        assert moment.resume_epoch == 10


HOLDER = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1])
file.execute("SELECT 1 FROM snaps").fetchall()
print(flush=True)
input()
"""


def test_a_store_in_use_is_not_compacted(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"old"), (PROFILES, "a", 4, b"new")], n_files=1)
    command = [sys.executable, "-c", HOLDER, str(files_of(store)[0])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as flow:
        assert flow.stdout is not None
        flow.stdout.readline()
        flow.send_signal(signal.SIGSTOP)  # as one that hangs: it would wake up
        with pytest.raises(StoreError, match="using this recovery store: stop it first"):
            compact(store, quiet)
        flow.kill()
    assert compact(store, quiet).dropped == 1


def test_a_store_that_was_looked_into_and_then_compacted_is_in_order(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"x")])
    check_files(store)
    with reading(store):
        pass
    compact(store, quiet)
    check_files(store)


def test_nobody_reads_a_store_while_it_is_held(tmp_path: Path):
    store = a_store(tmp_path / "store", [])
    with holding(store), pytest.raises(StoreError, match="in use"), reading(store):
        pass


def test_keys_of_the_steps_that_are_named_are_mapped(tmp_path: Path):
    rows = [(PROFILES, "a", 3, b"1"), (PROFILES, "b", 3, b"2"), ("recommend.events", "a", 3, 7)]
    store = a_store(tmp_path / "store", rows)
    assert map_keys(store, [PROFILES], lambda key: {"a": "b", "b": "a2"}[key], 1) == 2
    assert keys_of(store) == ["a2", "b"]
    assert keys_of(store, "recommend.events") == ["a"]
    assert generation_of(store) == 1
    with reading(store) as moment:
        found = moment.newest()
    assert (found[PROFILES, "b"].change or b"").endswith(b"\x011\x94.")


def test_keys_that_swap_their_names_keep_their_states(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"1"), (PROFILES, "b", 3, b"2")], n_files=1)
    map_keys(store, [PROFILES], lambda key: {"a": "b", "b": "a"}[key], 1)
    assert keys_of(store) == ["a", "b"]
    with reading(store) as moment:
        assert b"2" in (moment.newest()[PROFILES, "a"].change or b"")


def test_a_key_without_a_new_name_is_dropped(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"1"), (PROFILES, "b", 3, b"2")])
    map_keys(store, [PROFILES], lambda key: None if key == "a" else key, 1)
    assert keys_of(store) == ["b"]


def test_a_mapping_that_was_cut_off_is_refused_and_goes_on_where_it_was(tmp_path: Path):
    keys = [f"u-{n}" for n in range(10)]
    store = a_store(tmp_path / "store", [(PROFILES, key, 3, b"x") for key in keys], n_files=3)
    calls = iter(range(100))

    def cut_off(key: str) -> str:
        if next(calls) == 6:  # in the second file
            raise KeyboardInterrupt
        return f"{key}+"

    with pytest.raises(KeyboardInterrupt):
        map_keys(store, [PROFILES], cut_off, 1)
    with pytest.raises(StoreError, match="start the same command again"):
        generation_of(store)
    map_keys(store, [PROFILES], lambda key: f"{key}+", 1)
    assert keys_of(store) == [f"{key}+" for key in keys]


@pytest.mark.parametrize("n_files", [1, 2])
def test_two_keys_never_become_one(tmp_path: Path, n_files: int):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 3, b"1"), (PROFILES, "b", 3, b"2")], n_files=n_files)
    with pytest.raises(StoreError, match="two keys would have one name"):
        map_keys(store, [PROFILES], lambda _key: "same", 1)
    assert "b" in keys_of(store)


def test_a_store_whose_keys_are_mapped_is_resumed(tmp_path: Path):
    run = Run([an_event(0, user_id="a"), TestingSource.EOF(), an_event(1, user_id="b")], store=tmp_path / "store").run()
    map_keys(tmp_path / "store", [PROFILES], lambda _key: "b", 1)
    run.run()
    assert [slate["n_events"] for slate in run["recommendations"]] == [1, 2]


def test_a_mapping_of_another_generation_is_refused(tmp_path: Path):
    store = a_store(tmp_path / "store", [])
    with pytest.raises(StoreError, match="generation 0"):
        map_keys(store, [PROFILES], str, 2)


def test_rows_of_a_renamed_key_in_two_files_leave_the_newest(tmp_path: Path):
    store = a_store(tmp_path / "store", [(PROFILES, "a", 5, None), (PROFILES, "a", 3, b"old")], n_files=2)
    compact(store, quiet)
    assert keys_of(store) == []
    assert sqlite3.connect(files_of(store)[0]).execute("PRAGMA journal_mode").fetchone() == ("wal",)
