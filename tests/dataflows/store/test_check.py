import pickle
from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import TestingSource

from dataflows.store.check import UnreadableStateError, check_store, drop_unfinished
from dataflows.store.files import StoreError, explained
from models.user.codec import VERSION
from tests.dataflows.store.builders import PROFILES, a_store, change_states, files_of, opened, query
from tests.flows.learning import Run as Learn
from tests.flows.learning import many_entries, many_events
from tests.flows.test_recommend import Run, an_event


def a_run(store: Path, n_users: int = 5) -> Run:
    return Run([an_event(number, user_id=f"u-{number % n_users}") for number in range(20)], store=store).run()


def another_version(state: tuple[bytes, Any, Any, int]) -> tuple[bytes, Any, Any, int]:
    return (bytes([VERSION + 1]) + state[0][1:], *state[1:])


def test_a_store_that_the_flow_has_written_is_taken(tmp_path: Path):
    run = a_run(tmp_path / "store")
    check_store(tmp_path / "store", run._flow)


def test_a_store_of_every_step_of_learn_is_taken(tmp_path: Path):
    run = Learn(many_events(), many_entries(), store=tmp_path / "store").run()
    check_store(tmp_path / "store", run.flow())


def test_a_folder_without_a_store_is_taken(tmp_path: Path):
    check_store(tmp_path, Run([])._flow)
    check_store(tmp_path / "nothing", Run([])._flow)


def test_state_of_a_newer_release_is_refused_with_flow_step_and_number_of_rows(tmp_path: Path):
    run = a_run(tmp_path / "store", n_users=5)
    change_states(tmp_path / "store", PROFILES, another_version)
    with pytest.raises(
        UnreadableStateError, match=f"flow recommend .*5 of recommend.profile: a profile of version {VERSION + 1:02x}"
    ):
        check_store(tmp_path / "store", run._flow)


@pytest.mark.parametrize("keep", [0, 1, 60, 100, -1])
def test_a_damaged_profile_is_refused(tmp_path: Path, keep: int):
    run = a_run(tmp_path / "store", n_users=1)
    change_states(tmp_path / "store", PROFILES, lambda state: (state[0][:keep], *state[1:]))
    with pytest.raises(UnreadableStateError, match=r"1 of recommend\.profile"):
        check_store(tmp_path / "store", run._flow)


def test_what_is_wrong_in_many_ways_is_told_in_one_short_message(tmp_path: Path):
    rows = [(f"recommend.step_{number}", "k", 1, 0) for number in range(50)]
    with pytest.raises(UnreadableStateError, match="and 45 more") as refused:
        check_store(a_store(tmp_path / "store", rows), Run([])._flow)
    assert len(str(refused.value)) < 1_000


def test_a_store_of_another_flow_is_refused_by_its_name(tmp_path: Path):
    a_run(tmp_path / "store")
    with pytest.raises(UnreadableStateError, match="this is a store of the flow recommend"):
        check_store(tmp_path / "store", Learn().flow())


def test_a_step_that_this_release_does_not_have_is_refused(tmp_path: Path):
    store = a_store(tmp_path / "store", [("recommend.oracle", "u", 1, b"x")])
    with pytest.raises(UnreadableStateError, match=r"1 of recommend\.oracle: this release has no such step"):
        check_store(store, Run([])._flow)


def test_state_of_a_ranker_that_does_not_learn_now_waits(tmp_path: Path):
    check_store(a_store(tmp_path / "store", [("learn.learn_ranker", "mlp", 1, b"\x01")]), Learn().flow())


class Code:
    def __reduce__(self) -> Any:
        return print, ("ran",)


def test_state_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    store = a_store(tmp_path / "store", [("recommend.profile", "u", 1, Code())])
    assert b"print" in pickle.dumps(Code())
    with pytest.raises(UnreadableStateError, match="plain values alone"):
        check_store(store, Run([])._flow)
    assert capsys.readouterr().out == ""


def test_a_missing_file_is_named(tmp_path: Path):
    store = a_store(tmp_path / "store", [], n_files=3)
    files_of(store)[1].unlink()
    with pytest.raises(StoreError, match=r"of 3 the numbers \[1\]"):
        check_store(store, Run([])._flow)


def test_files_of_two_stores_are_refused(tmp_path: Path):
    store, other = a_store(tmp_path / "store", [], n_files=2), a_store(tmp_path / "other", [], n_files=3)
    files_of(other)[2].rename(store / "part-2.sqlite3")
    with pytest.raises(StoreError, match="two stores"):
        check_store(store, Run([])._flow)


def test_files_of_two_moments_are_refused(tmp_path: Path):
    store = a_store(tmp_path / "store", [], resume_epoch=10)
    with opened(files_of(store)[1]) as file:
        file.execute("INSERT INTO commits (part_index, commit_epoch) VALUES (1, 12)")
    with pytest.raises(StoreError, match="different moments"):
        check_store(store, Run([])._flow)


def test_a_damaged_file_is_refused(tmp_path: Path):
    store = a_run(tmp_path / "store") and tmp_path / "store"
    with files_of(store)[0].open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 16_384)
    with pytest.raises(StoreError, match="damaged"):
        check_store(store, Run([])._flow)


def test_a_write_ahead_log_that_sqlite_would_pass_over_in_silence_is_refused(tmp_path: Path):
    store = a_store(tmp_path / "store", [])
    path = files_of(store)[0]
    with opened(path) as file:
        file.execute("UPDATE fronts SET worker_frontier = 11")
        file.commit()
        log = path.with_name(f"{path.name}-wal")
        held = log.read_bytes()
    log.write_bytes(held)
    check_store(store, Run([])._flow)
    log.write_bytes(b"\0" * 32 + held[32:])
    with pytest.raises(StoreError, match="wal: damaged"):
        check_store(store, Run([])._flow)


def test_what_an_epoch_left_that_never_ended_is_not_taken_by_a_later_resume(tmp_path: Path):
    """Two kills close together: the first while an epoch's rows were written, the second after a shorter epoch."""
    store = tmp_path / "store"
    others = [an_event(number, user_id="b") for number in range(2, 42)]
    last = an_event(99, user_id="a", event_id="e-last")
    run = Run(
        [an_event(0, user_id="a"), an_event(1, user_id="b"), TestingSource.EOF(), *others, TestingSource.ABORT(), last],
        store=store,
    ).run()
    (unfinished,) = query(store, "SELECT max(worker_frontier) FROM fronts")[-1]
    ahead = Run([an_event(0, user_id="a"), last], store=tmp_path / "ahead").run()
    assert ahead.counts["applied"] == 2
    ((state,),) = query(tmp_path / "ahead", "SELECT ser_change FROM snaps WHERE state_key = 'a'")
    with opened(files_of(store)[0]) as file:
        file.execute(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, 'a', ?, ?)",
            (PROFILES, unfinished, state),
        )
    assert drop_unfinished(store) == 1
    run.run()
    run.run()
    slates = [(slate["trigger_id"], slate["n_events"]) for slate in run["recommendations"] if slate["user_id"] == "a"]
    assert slates == [("e-0", 1), ("e-last", 2)]
    assert run.counts["duplicate"] == 0


def test_a_place_where_no_folder_can_be_is_no_damaged_store(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="no folder can be made there"), explained(tmp_path / "file" / "learn"):
        (tmp_path / "file" / "learn").mkdir()
