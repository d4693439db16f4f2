import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

from bytewax.recovery import init_db_dir

from dataflows.run.stored_state import newest_rows, wipe

KNOWN = "what-was-known-of-ann"


def a_store(folder: Path) -> Path:
    """Ann's state was forgotten, Bob's is there, and Cid came back after he was forgotten."""
    folder.mkdir()
    init_db_dir(folder, 1)
    [file] = folder.glob("part-*.sqlite3")
    rows = [
        ("ann", 1, pickle.dumps(KNOWN)),
        ("ann", 2, None),
        ("bob", 1, pickle.dumps("bob's")),
        ("cid", 1, None),
        ("cid", 2, pickle.dumps("cid's")),
    ]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany(
            "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES ('recommend.profile', ?, ?, ?)", rows
        )
    return file


def test_the_newest_state_of_each_key_is_read(tmp_path: Path):
    rows = {row.state_key: row.state for row in newest_rows(a_store(tmp_path / "store"))}
    assert rows == {"ann": None, "bob": "bob's", "cid": "cid's"}


def test_a_forgotten_row_goes_with_its_pages_and_its_log_and_nobody_elses(tmp_path: Path):
    file = a_store(tmp_path / "store")
    assert wipe(tmp_path / "store", {"ann", "cid"}) == 2
    assert {row.state_key for row in newest_rows(file)} == {"bob", "cid"}
    held = b"".join(path.read_bytes() for path in sorted((tmp_path / "store").iterdir()))
    assert KNOWN.encode() not in held
    assert b"ann" not in held
    assert b"bob's" in held


def test_a_store_that_another_copy_writes_to_is_left_for_the_next_start(tmp_path: Path):
    file = a_store(tmp_path / "store")
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert wipe(tmp_path / "store", {"ann"}) == 0
        other.rollback()
    assert wipe(tmp_path / "store", {"ann"}) == 2
