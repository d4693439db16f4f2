"""A store whose files have grown long gets more of them, and the engine goes on as if nothing had been."""

from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.run.recovery_store import check_files
from dataflows.store import spreading
from dataflows.store.files import reading
from dataflows.store.spreading import spread
from dataflows.store.taking_over import end_take_over
from tests.dataflows.store.builders import PROFILES, a_store, files_of, query

KEYS = [f"u-{n}" for n in range(200)] + ["", "ü", "a key that is longer than one word of the hash"]
ACTS = [(key, 1) for key in KEYS]


def counted(store: Path, runs: list[list[tuple[str, int]]]) -> list[tuple[str, int]]:
    """Let the engine count what each key did, in the next of some runs; as far as it came is kept in the store."""
    found: list[tuple[str, int]] = []
    acts: list[object] = []
    for run in runs:
        acts += [*run, TestingSource.EOF()]
    flow = Dataflow("recommend")
    given = op.input("events", flow, TestingSource(acts))
    totals = op.stateful_map("profile", given, lambda total, n: ((total or 0) + n,) * 2)
    op.output("out", totals, TestingSink(found))
    run_main(flow, recovery_config=RecoveryConfig(str(store)))
    return found


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "recommend"
    folder.mkdir()
    init_db_dir(folder, 2)
    assert counted(folder, [ACTS, ACTS]) == ACTS
    return folder


def states(store: Path) -> set[tuple[str, str, bytes | None]]:
    with reading(store) as moment:
        return {(row.step_id, row.key, row.change) for row in moment.newest().values()}


def test_the_engine_goes_on_from_a_spread_store_and_leaves_no_row_of_the_past(store: Path):
    before = states(store)
    assert spread(store, max_rows=20) == len(files_of(store)) == 16
    assert states(store) == before
    check_files(store)
    assert counted(store, [ACTS, ACTS]) == [(key, 2) for key in KEYS]
    keys = [key for (key,) in query(store, "SELECT state_key FROM snaps WHERE step_id LIKE ?", f"{PROFILES}%")]
    assert sorted(keys) == sorted(KEYS), "had a row gone into another file, the former one would lie there still"


def test_a_store_whose_files_are_short_stays_as_it_is(store: Path):
    def files() -> list[tuple[int, int, bytes]]:
        return [(path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in files_of(store)]

    before = files()
    assert spread(store) == 2
    assert files() == before


def test_a_store_whose_rows_lie_elsewhere_stays_as_it_is(tmp_path: Path):
    store = a_store(tmp_path / "recommend", [(PROFILES, key, 9, {}) for key in KEYS])
    before = states(store)
    assert spread(store, max_rows=20) == 2
    assert states(store) == before
    assert not list(store.glob("taken-over*"))


@pytest.mark.parametrize("cut", ["init_db_dir", "sync", "put_in_place"])
def test_wherever_it_is_cut_off_the_next_start_has_all_states(store: Path, cut: str, monkeypatch: pytest.MonkeyPatch):
    before = states(store)
    with monkeypatch.context() as patch:
        patch.setattr(spreading, cut, lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            spread(store, max_rows=20)
    end_take_over(store)
    assert len(files_of(store)) == (16 if cut == "put_in_place" else 2)
    assert states(store) == before
    assert spread(store, max_rows=20) == 16
    assert counted(store, [ACTS, ACTS]) == [(key, 2) for key in KEYS]
