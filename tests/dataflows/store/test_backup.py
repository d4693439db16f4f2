import shutil
import threading
from pathlib import Path

import pytest
from bytewax.testing import TestingSource

from dataflows.store import backup as module
from dataflows.store.backup import UNFINISHED, back_up, restore
from dataflows.store.check import check_store
from dataflows.store.files import StoreError, holding, reading
from tests.dataflows.store.builders import PROFILES, a_store, files_of, keys_of, opened
from tests.flows.test_recommend import Run, an_event


def quiet(_text: str) -> None:
    pass


def test_a_flow_goes_on_from_a_backup_where_the_store_stood(tmp_path: Path):
    store = tmp_path / "recommend"
    events = [an_event(n) for n in range(30)]
    stopped = [*events[:10], TestingSource.EOF(), *events[10:]]
    run = Run(stopped, store=store).run()
    back_up(store, tmp_path / "backup", quiet)
    run.run()
    restore(tmp_path / "backup", store, quiet)
    check_store(store, run._flow)
    again = Run(stopped)
    again._recovery = run._recovery
    again.run()
    assert [slate["n_events"] for slate in again["recommendations"]] == list(range(11, 31))


def test_a_backup_beside_a_running_flow_is_of_one_moment(tmp_path: Path):
    """Epochs end all the time, each with a row of one key in every file."""
    store = a_store(tmp_path / "recommend", [], n_files=4, resume_epoch=1)
    ending = threading.Event()

    def end_epochs() -> None:
        epoch = 1
        while not ending.is_set():
            for path in files_of(store)[::-1]:
                with opened(path) as file:
                    file.execute(
                        "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, x'00')",
                        (PROFILES, path.name, epoch),
                    )
            epoch += 1
            with opened(files_of(store)[0]) as file:
                file.execute("UPDATE fronts SET worker_frontier = ?", (epoch,))
            ending.wait(0.02)

    writer = threading.Thread(target=end_epochs)
    writer.start()
    try:
        backups = [tmp_path / f"backup-{n}" for n in range(5)]
        for target in backups:
            back_up(store, target, quiet)
    finally:
        ending.set()
        writer.join()
    for target in backups:
        with reading(target) as moment:
            newest = {row.key: row.epoch for row in moment.newest().values()}
            assert set(newest.values()) <= {moment.resume_epoch - 1}


def test_a_backup_that_was_cut_off_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = a_store(tmp_path / "recommend", [])
    monkeypatch.setattr(module, "sync", lambda _folder: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        back_up(store, tmp_path / "backup", quiet)
    assert not (tmp_path / "backup").exists()
    monkeypatch.undo()
    back_up(store, tmp_path / "backup", quiet)
    restore(tmp_path / "backup", store, quiet)


def test_a_folder_that_is_there_is_not_written_over(tmp_path: Path):
    store = a_store(tmp_path / "recommend", [])
    with pytest.raises(StoreError, match="is there already"):
        back_up(store, tmp_path, quiet)


@pytest.mark.parametrize("harm", ["changed", "missing", "no list", "another flow's"])
def test_a_backup_that_is_not_what_was_made_is_refused_and_the_store_stays(tmp_path: Path, harm: str):
    store, target = a_store(tmp_path / "recommend", [(PROFILES, "a", 1, b"x")]), tmp_path / "backup"
    back_up(store, target, quiet)
    folder = store
    if harm == "changed":
        with files_of(target)[0].open("r+b") as file:
            file.write(b"?")
    elif harm == "missing":
        files_of(target)[1].unlink()
    elif harm == "no list":
        (target / module.MANIFEST).unlink()
    else:
        folder = tmp_path / "learn"
    with pytest.raises(StoreError):
        restore(target, folder, quiet)
    assert keys_of(store) == ["a"]


def test_nothing_is_restored_under_a_flow_that_runs(tmp_path: Path):
    store = a_store(tmp_path / "recommend", [])
    back_up(store, tmp_path / "backup", quiet)
    with reading(store), pytest.raises(StoreError, match="stop it first"):
        restore(tmp_path / "backup", store, quiet)
    assert not (store / UNFINISHED).exists()


def test_a_restore_that_was_cut_off_keeps_flows_out_until_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = a_store(tmp_path / "recommend", [(PROFILES, "a", 1, b"x")])
    back_up(store, tmp_path / "backup", quiet)
    copied = iter(range(10))

    def cut_off(source: Path, target: Path) -> None:
        if next(copied) == 1:
            raise KeyboardInterrupt
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(module.shutil, "copyfile", cut_off)
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "backup", store, quiet)
    with pytest.raises(StoreError, match="restore was cut off"):
        check_store(store, Run([])._flow)
    monkeypatch.undo()
    restore(tmp_path / "backup", store, quiet)
    assert keys_of(store) == ["a"]
    with holding(store):
        pass


def test_a_damaged_store_can_be_replaced(tmp_path: Path):
    store = a_store(tmp_path / "recommend", [(PROFILES, "a", 1, b"x")])
    back_up(store, tmp_path / "backup", quiet)
    files_of(store)[0].write_bytes(b"no database at all" * 1_000)
    files_of(store)[1].unlink()
    restore(tmp_path / "backup", store, quiet)
    assert keys_of(store) == ["a"]
    assert (store / "replaced-1").is_dir()


def test_a_lost_store_is_made_again_from_a_backup(tmp_path: Path):
    store = a_store(tmp_path / "recommend", [(PROFILES, "a", 1, b"x")])
    back_up(store, tmp_path / "backup", quiet)
    shutil.rmtree(store)
    restore(tmp_path / "backup", store, quiet)
    assert keys_of(store) == ["a"]
