"""State of an earlier release: `tests/golden/make_stores.py` made it, with the release that the archive's name says."""

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dataflows.chaos.differences import rows_differ
from dataflows.chaos.undisturbed import rows_of_files
from dataflows.run import runtime
from dataflows.run.infrastructure import HttpSettings, RecoverySettings, TopicSettings
from dataflows.run.recovery_store import store_folder
from dataflows.run.runtime import Health, run_flow
from dataflows.run.settings import LearnSettings, RankerSettings, Settings
from dataflows.run.stopping import Stop
from dataflows.run.wiring import open_flow
from dataflows.run.worker import open_worker
from dataflows.store.check import UnreadableStateError, check_store
from tests.dataflows.store.builders import change_states
from tests.golden import make_stores
from tests.places import GOLDEN

N_BEFORE, N_AFTER = 60, 40


@pytest.fixture(autouse=True)
def same_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "tune_gc", lambda: None)


def left_by(release: str, folder: Path) -> Path:
    """Unpack what a release has left, and let the platform write on."""
    with tarfile.open(GOLDEN / f"stores_{release}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    with (folder / "topics" / "events.jsonl").open("ab") as file:
        file.write(make_stores.events(N_BEFORE, N_BEFORE + N_AFTER))
    return folder


def a_fresh_start(folder: Path) -> Path:
    """Have the same events read from their beginning."""
    (folder / "topics").mkdir(parents=True)
    (folder / "topics" / "events.jsonl").write_bytes(make_stores.events(0, N_BEFORE + N_AFTER))
    (folder / "topics" / "catalog.jsonl").write_bytes(make_stores.catalog())
    (folder / "experiments.yaml").write_text(make_stores.EXPERIMENTS)
    return folder


def settings_for(folder: Path) -> Settings:
    return Settings(
        topics=TopicSettings(folder=folder / "topics"),
        recovery=RecoverySettings(folder=folder / "recovery", partitions=1),
        learn=LearnSettings(shards=2, half_life_long_s=14 * 86_400),  # as that release had it
        ranker=RankerSettings(name="ftrl"),
        experiments_file=folder / "experiments.yaml",
        http=HttpSettings(enabled=False),
    )


def run(flow: str, folder: Path) -> None:
    settings = settings_for(folder)
    with open_flow(flow, settings, Stop(), Health()) as dataflow:
        store = store_folder(settings, flow)
        assert store is not None
        check_store(store, dataflow)
        run_flow(dataflow, settings, flow)


def written(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "topics" / topic / "00000.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize("release", ["37d5248"])
def test_every_flow_goes_on_from_the_state_of_an_earlier_release(tmp_path: Path, release: str):
    folder = left_by(release, tmp_path / "left")
    before = written(folder, "recommendations")
    run("recommend", folder)
    slates = written(folder, "recommendations")
    assert slates[:N_BEFORE] == before
    assert Counter(slate["trigger_id"] for slate in slates) == Counter(f"e-{n}" for n in range(N_BEFORE + N_AFTER))
    seen: Counter[str] = Counter()
    for slate in slates:
        seen[slate["user_id"]] += 1
        assert slate["n_events"] == seen[slate["user_id"]]
    assert len(written(folder, "assignments")) == make_stores.N_USERS

    run("learn", folder)
    fresh = a_fresh_start(tmp_path / "fresh")
    run("recommend", fresh)
    run("learn", fresh)
    learned, afresh = rows_of_files(folder / "topics"), rows_of_files(fresh / "topics")
    assert sum(key.startswith(b"neighbours/") for key in learned) == make_stores.N_ITEMS
    assert rows_differ(learned, afresh) == []

    run("evaluate", folder)
    newest = written(folder, "experiment-results")[-1]
    assert sum(variant["users"] for variant in newest["variants"]) == make_stores.N_USERS


@pytest.mark.parametrize(
    ("flow", "step"),
    [("recommend", "recommend.profile"), ("learn", "learn.transitions"), ("evaluate", "evaluate.outcomes")],
)
def test_state_of_a_later_release_ends_the_start_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flow: str, step: str
):
    folder = left_by("37d5248", tmp_path / "left")
    settings = settings_for(folder)
    store = store_folder(settings, flow)
    assert store is not None

    def another_version(state: Any) -> Any:
        packed = state[0] if flow == "recommend" else state
        later = b"\xee" + packed[1:]
        return (later, *state[1:]) if flow == "recommend" else later

    change_states(store, step, another_version)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "sqlite3-" not in path.name}
    monkeypatch.setattr(Stop, "on_signals", lambda _self: None)
    monkeypatch.setattr(Stop, "on_dead_threads", lambda _self: None)
    with pytest.raises(UnreadableStateError, match=rf"6 of {step}"), open_worker(flow, settings, store):
        pass
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "sqlite3-" not in path.name}
    assert after == before
