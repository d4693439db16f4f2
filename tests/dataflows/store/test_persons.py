import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bytewax.testing import TestingSource

from dataflows.store.files import StoreError, partition_files, reading
from dataflows.store.persons import check_generation, rotate, wipe
from models.pseudonyms import StateKeys
from tests.flows.erasing import an_erasure
from tests.flows.test_recommend import NOW, Run, an_event

ANN, BOB = "ann-whose-id-is-long", "bob-whose-id-is-long"


def a_store(folder: Path) -> Path:
    """Ann was erased; Bob too, and has come back since."""
    stop = TestingSource.EOF()
    events = [an_event(0, user_id=ANN), an_event(0, user_id=BOB), stop, stop, an_event(9, user_id=BOB)]
    erasures = [stop, an_erasure(ANN, NOW + 1), an_erasure(BOB, NOW + 1)]
    Run(events, store=folder, erasures=erasures).run().run().run()
    return folder


def test_what_the_engine_keeps_of_a_forgotten_state_goes_and_nobody_elses(tmp_path: Path):
    store = a_store(tmp_path / "store")
    assert wipe(store, {ANN, BOB})
    with reading(store) as moment:
        assert {key for step, key in moment.newest() if step == "recommend.profile"} == {BOB}
    held = b"".join(path.read_bytes() for path in sorted(store.iterdir()))
    assert ANN.encode() not in held
    assert BOB.encode() in held
    assert not wipe(store, {ANN, BOB})


def test_a_store_that_is_in_use_is_left_for_the_next_start(tmp_path: Path):
    store = a_store(tmp_path / "store")
    with closing(sqlite3.connect(partition_files(store)[0])) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert not wipe(store, {ANN})
        other.rollback()
    assert wipe(store, {ANN})


def test_after_a_rotation_every_profile_is_found_under_its_new_key(tmp_path: Path):
    store, keys = a_store(tmp_path / "store"), StateKeys(["a", "b"])
    with pytest.raises(StoreError, match="eddy state rotate store"):
        check_generation(store, keys)
    with reading(store) as moment:
        before = {row.change for (step, _), row in moment.newest().items() if step == "recommend.profile"}
    assert rotate(store, StateKeys(["a"])) == 2
    assert rotate(store, keys) == 2
    assert rotate(store, keys) == 0
    check_generation(store, keys)
    with reading(store) as moment:
        found = {key: row.change for (step, key), row in moment.newest().items() if step == "recommend.profile"}
    assert found.keys() == {keys(BOB)}
    assert set(found.values()) == before
    with pytest.raises(StoreError, match="name all of them"):
        check_generation(store, StateKeys(["a"]))
