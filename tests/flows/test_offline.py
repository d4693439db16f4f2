"""The flows over a folder of files, to the end of their input."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from bytewax.errors import BytewaxRuntimeError

from dataflows.errors import EddyError, FencedError
from dataflows.files.source import FileSource, read_whole
from dataflows.run import runtime
from dataflows.run.infrastructure import RecoverySettings, TopicSettings
from dataflows.run.runtime import Health, run_flow
from dataflows.run.settings import LearnSettings, RankerSettings, Settings
from dataflows.run.stopping import Owner, Stop
from dataflows.run.wiring import open_flow
from models.config import AttributionConfig
from models.numeric.ids import hash64
from models.serving.recommender import Recommender
from models.strategy import Strategy

NOW = 1_700_000_000_000
EXPERIMENTS = """
experiments:
  - name: page
    analysis: {goal: hit_rate, rules: {alpha: 0.1}}
    variants:
      - {name: control, weight: 1, strategy: {allow_seen: true}}
      - {name: treatment, weight: 1, strategy: {allow_seen: true, sources: {trending: 1.0}}}
"""
N_EVENTS = 2_400
"""Three batches of the source."""


def a_folder(path: Path, since: int = NOW) -> Path:
    """Twenty users who look at ten of sixty lanterns in turn; the last event is garbage."""
    path.mkdir()
    events = [
        {
            "event_id": f"e-{n}",
            "user_id": f"u-{n % 20}",
            "item_id": f"i-{n // 20 % 10}",
            "event_type": "view",
            "timestamp": since + 1_000 * n,
        }
        for n in range(N_EVENTS)
    ]
    lines = [orjson.dumps(event) for event in events]
    with gzip.open(path / "events.jsonl.gz", "wb") as file:
        file.write(b"\n".join([*lines, b'{"half']))
    items = [
        orjson.dumps({"item_id": f"i-{n}", "title": f"Lantern {n}", "categories": [f"c{n % 3}"]}) for n in range(60)
    ]
    (path / "catalog.jsonl").write_bytes(b"\n".join([*items, b'{"item_id":""}']))
    return path


def written(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / topic / "00000.jsonl").read_bytes().splitlines()]


def settings_for(folder: Path, store: Path) -> Settings:
    return Settings(
        topics=TopicSettings(folder=folder),
        recovery=RecoverySettings(folder=store, epoch_interval_s=0, learn_epoch_interval_s=0, partitions=1),
        learn=LearnSettings(shards=2, min_users=1),
    )


def run(flow: str, settings: Settings) -> Health:
    health = Health()
    with open_flow(flow, settings, Stop(), health) as dataflow:
        run_flow(dataflow, settings, flow)
    return health


@pytest.fixture(autouse=True)
def same_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "tune_gc", lambda: None)


@pytest.mark.slow
def test_two_commands_turn_a_folder_of_events_into_slates(tmp_path: Path):
    folder = a_folder(tmp_path / "topics")
    environment = os.environ | {"EDDY_TOPICS__FOLDER": str(folder), "EDDY_HTTP__ENABLED": "false"}
    for flow in ("learn", "recommend"):
        done = subprocess.run(
            [sys.executable, "-m", "dataflows", "run", flow], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
    slates = written(folder, "recommendations")
    assert sorted(slate["trigger_id"] for slate in slates) == sorted(f"e-{n}" for n in range(N_EVENTS))
    assert all(slate["items"] for slate in slates)
    sources = {item["source"] for slate in slates for item in slate["items"]}
    assert "session_knn" in sources
    assert [letter["reason"] for letter in written(folder, "dead-letters/recommend")] == ["truncated"]
    assert [letter["topic"] for letter in written(folder, "dead-letters/learn")] == ["catalog"]


def evaluated(path: Path, experiments: str) -> tuple[Path, Health]:
    """Learn from the past, recommend and evaluate on what came after it; returns the later folder."""
    past, later = a_folder(path / "past"), a_folder(path / "later", NOW + 1_000 * N_EVENTS)
    run("learn", settings_for(past, path / "store"))
    (past / "model-updates").rename(later / "model-updates")
    file = path / "experiments.yaml"
    file.write_text(experiments)
    settings = settings_for(later, path / "store").model_copy(update={"experiments_file": file})
    run("recommend", settings)
    return later, run("evaluate", settings)


def test_what_the_slates_were_worth_is_told_by_experiment(tmp_path: Path):
    folder, health = evaluated(tmp_path, EXPERIMENTS)
    control, treatment = written(folder, "experiment-results")[-1]["variants"]
    assert health.counts == {"truncated": 1}
    assert control["users"] + treatment["users"] == 20
    figures = {metric["metric"]: metric["value"] for metric in control["metrics"]}
    assert figures["activity"] == N_EVENTS / 20 - 1  # the first act comes before the slate that exposes the user
    assert 0 < figures["ctr"] < figures["hit_rate"] <= 1
    assert 0 < figures["novelty"] < 1
    assert 10 <= control["coverage"] <= 60


def test_two_strategies_in_one_slate_are_told_apart_by_what_users_want(tmp_path: Path):
    folder, _ = evaluated(tmp_path, EXPERIMENTS.replace("name: page", "name: page\n    kind: interleaving"))
    slates = written(folder, "recommendations")
    assert len(slates) == N_EVENTS
    assert all(len(slate["teams"]) == len(slate["items"]) for slate in slates)
    assert {team for slate in slates for team in slate["teams"]} == {0, 1}
    result = written(folder, "experiment-results")[-1]
    [variant] = result["variants"]
    preference = next(metric for metric in variant["metrics"] if metric["metric"] == "preference")
    assert (result["goal"], variant["variant"], variant["users"]) == ("preference", "interleaved", 20)
    assert preference["value"] < 0  # what follows each item is known, so the sequence knows better than the trend


def test_evaluate_without_experiments_says_what_to_name(tmp_path: Path):
    with pytest.raises(EddyError, match="EDDY_EXPERIMENTS_FILE"):
        run("evaluate", settings_for(a_folder(tmp_path / "topics"), tmp_path / "store"))


def test_rows_of_any_bytes_survive_their_lines(tmp_path: Path):
    folder = a_folder(tmp_path / "topics")
    run("learn", settings_for(folder, tmp_path / "store"))
    rows = [r for batch in read_whole(FileSource(folder, "model-updates", packed=True)) for r in batch]
    values = {record.key: record.value for record in rows}
    assert {b"neighbours/i-0", b"content/i-59", b"trending/all/0"} <= values.keys()
    assert hash64("i-0").to_bytes(8, "little", signed=True) in (values[b"neighbours/i-0"] or b"")[8:16]


@pytest.mark.parametrize("calls", [1, 12])
def test_a_crashed_flow_goes_on_from_its_snapshot_and_each_event_has_one_slate(
    calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, store = a_folder(tmp_path / "topics"), tmp_path / "store"
    settings = settings_for(folder, store)
    run("learn", settings)
    original, left = Recommender._drafts, [calls]

    def crash_once(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError("crash")
        return original(*arguments)

    with open_flow("recommend", settings, Stop(), Health()) as dataflow:
        monkeypatch.setattr(Recommender, "_drafts", crash_once)
        with pytest.raises((RuntimeError, BytewaxRuntimeError)):
            run_flow(dataflow, settings, "recommend")
    run("recommend", settings)
    slates = written(folder, "recommendations")
    assert sorted(slate["trigger_id"] for slate in slates) == sorted(f"e-{n}" for n in range(N_EVENTS))
    for user in range(20):
        counts = [slate["n_events"] for slate in slates if slate["user_id"] == f"u-{user}"]
        assert counts == list(range(1, N_EVENTS // 20 + 1))


def test_recommend_alone_answers_from_the_catalog(tmp_path: Path):
    folder = a_folder(tmp_path / "topics")
    run("recommend", settings_for(folder, tmp_path / "store"))
    slates = written(folder, "recommendations")
    assert len(slates) == N_EVENTS
    assert {item["source"] for slate in slates for item in slate["items"]} == {"content"}


def test_a_copy_that_was_replaced_writes_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, store = a_folder(tmp_path / "topics"), tmp_path / "store"
    settings = settings_for(folder, store)
    stop = Stop(owner=Owner(store / "recommend" / "owner-0"))
    original = Recommender.recommend

    def start_another(*arguments: Any) -> Any:
        Owner(store / "recommend" / "owner-0")
        return original(*arguments)

    with open_flow("recommend", settings, stop, Health()) as dataflow:
        monkeypatch.setattr(Recommender, "recommend", start_another)
        with pytest.raises(FencedError):
            run_flow(dataflow, settings, "recommend")
    monkeypatch.undo()
    # The batch during which it was replaced had its snapshot behind it.
    assert run("recommend", settings).counts["applied"] == N_EVENTS - 1_000


def is_next_on_top(slate: dict[str, Any]) -> bool:
    """Say whether the first item is the one that the user of `a_folder` looks at next."""
    kind, _, number = slate["trigger_id"].partition("-")
    return (
        kind == "e" and slate["items"][:1] != [] and slate["items"][0]["item_id"] == f"i-{(int(number) // 20 + 1) % 10}"
    )


def test_what_users_did_with_slates_trains_the_ranker_that_the_next_run_serves(tmp_path: Path):
    folder = a_folder(tmp_path / "topics")
    with gzip.open(folder / "events.jsonl.gz", "ab") as file:
        for n in range(N_EVENTS):
            fan = {"event_id": f"f-{n}", "user_id": f"fan-{n}", "item_id": f"i-{40 + n % 3}", "event_type": "view"}
            file.write(b"\n" + orjson.dumps(fan | {"timestamp": NOW + 1_000 * n}))
    settings = Settings(
        topics=TopicSettings(folder=folder),
        learn=LearnSettings(shards=2, min_users=1),
        attribution=AttributionConfig(window_s=60, lateness_s=5),
        ranker=RankerSettings(name="linear", learning_rate=0.03, publish_every=2),
        # Others' lanterns trend; sequential rules, which have next to no weight in the blend, say what comes next.
        strategy=Strategy(sources={"trending": 1.0, "sequential_rules": 0.01}, ranker="linear", allow_seen=True),
    )
    versions, predicted = [], []
    for _ in range(2):
        learned = run("learn", settings).counts
        run("recommend", settings)
        slates = written(folder, "recommendations")
        versions.append({slate["model_version"].partition("@")[0].partition("-")[0] for slate in slates})
        predicted.append(sum(is_next_on_top(slate) for slate in slates))
    assert learned["ranker_versions"] >= 1
    assert learned["attributed_slates"] > N_EVENTS * 0.9
    assert versions == [{"blend"}, {"linear"}]
    assert predicted[1] > predicted[0] + N_EVENTS / 2
