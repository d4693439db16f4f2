"""Traffic that results move, in the flow that assigns: in memory, over crashes, and over a folder of files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from bytewax.testing import TestingSource

from dataflows.run import runtime
from dataflows.run.infrastructure import RecoverySettings, TopicSettings
from dataflows.run.runtime import Health, run_flow
from dataflows.run.settings import Settings
from dataflows.run.stopping import Stop
from dataflows.run.wiring import open_flow
from models.experiments.assign.assignment import Experiments
from models.experiments.judge.results import look
from models.experiments.judge.tally import Tally
from models.messages import ExperimentResult, TrafficPoint
from tests.experiments import experiments_from
from tests.flows.test_recommend import NOW, Run, an_event

DECLARED: dict[str, Any] = {
    "name": "page",
    "variants": [{"name": "a", "weight": 1, "strategy": {}}, {"name": "b", "weight": 1, "strategy": {}}],
}
STOPPED = [0.0, 1.0]


def a_result(experiments: Experiments, second: int, shares: list[float]) -> ExperimentResult:
    """What a look says that moved the traffic from a second on."""
    [experiment] = experiments.declared
    result = look(Tally(), experiment, "slate")
    return replace(result, traffic=[TrafficPoint(NOW + 1_000 * second, shares)])


def declared(**analysis: Any) -> Experiments:
    return experiments_from([DECLARED | {"analysis": analysis}])


def stopped(second: int = 50) -> Experiments:
    experiments = declared(stop=True)
    experiments.traffic.take(a_result(experiments, second, STOPPED))
    return experiments


def events_of(n_users: int, seconds: range) -> list[Any]:
    return [an_event(n, user_id=f"u-{n % n_users}") for n in seconds]


def variants_of(messages: list[dict[str, Any]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for message in messages:
        found.setdefault(message["user_id"], set()).add(message["variant"])
    return found


def test_after_a_stop_new_users_get_the_winner_and_the_others_keep_what_they_have():
    early, late = events_of(20, range(40)), [an_event(50 + n, user_id=f"new-{n}") for n in range(20)]
    run = Run([*early, *late, *events_of(20, range(80, 120))], experiments=stopped()).run()
    variants = variants_of(run["recommendations"])
    assert all(len(held) == 1 for held in variants.values())
    assert set.union(*(variants[f"u-{n}"] for n in range(20))) == {"a", "b"}
    assert set.union(*(variants[f"new-{n}"] for n in range(20))) == {"b"}
    by_user = {entry["user_id"]: entry for entry in run["assignments"]}
    assert len(run["assignments"]) == len(by_user) == 40
    assert {(user, entry["variant"]) for user, entry in by_user.items()} == {
        (user, variant) for user, held in variants.items() for variant in held
    }
    assert by_user["u-0"]["shares"] is None
    assert by_user["new-0"]["shares"] == STOPPED


def test_a_crash_and_a_move_meanwhile_change_nobodys_variant(tmp_path: Path):
    experiments = declared(stop=True)
    events = events_of(20, range(60))
    run = Run([*events[:30], TestingSource.ABORT(), *events[30:]], experiments=experiments, store=tmp_path / "store")
    run.run()
    experiments.traffic.take(a_result(experiments, 25, STOPPED))
    run.run()
    assert all(len(held) == 1 for held in variants_of(run["recommendations"]).values())
    assert {variant for held in variants_of(run["recommendations"]).values() for variant in held} == {"a", "b"}


def test_a_replay_with_the_results_of_later_assigns_everybody_as_it_was():
    events = [an_event(n, user_id=f"u-{n}") for n in range(60)]
    one, other = stopped(), declared(stop=True)
    points = [TrafficPoint(NOW + 50_000, STOPPED), TrafficPoint(NOW + 500_000, [0.5, 0.5])]
    other.traffic.take(replace(a_result(other, 50, STOPPED), traffic=points))
    made = [Run(events, experiments=experiments).run()["assignments"] for experiments in (one, other)]
    assert made[0] == made[1]


def test_an_erased_user_who_comes_back_is_new(tmp_path: Path):
    experiments = stopped(50)
    users = [n for n in range(20) if experiments.assign(f"u-{n}").variant == "a"]
    user = f"u-{users[0]}"
    erasure = orjson.dumps({"erasure_id": "x", "user_id": user, "requested_at": NOW})
    stop: Any = TestingSource.EOF()
    run = Run(
        [an_event(1, user_id=user), stop, stop, an_event(99, user_id=user)],
        experiments=experiments,
        erasures=[stop, an_event(0, user_id=user)._replace(value=erasure)],
        store=tmp_path / "store",
    )
    for _ in range(3):
        run.run()
    assigned = [orjson.loads(outgoing.value) for _, outgoing in run._written["assignments"] if outgoing.value]
    assert [entry["variant"] for entry in assigned] == ["a", "b"]


@pytest.mark.parametrize(("analysis", "expected"), [("{stop: true}", {"b"}), ("{}", {"a", "b"})])
def test_a_flow_over_files_follows_the_results_that_lie_there_where_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, analysis: str, expected: set[str]
):
    monkeypatch.setattr(runtime, "tune_gc", lambda: None)
    result = a_result(declared(stop=True), 0, STOPPED)
    folder = tmp_path / "topics"
    folder.mkdir()
    (folder / "events.jsonl").write_bytes(b"\n".join(an_event(n, user_id=f"u-{n}").value for n in range(20)))
    (folder / "experiment-results.jsonl").write_bytes(b'{"garbage"\n' + orjson.dumps(result))
    file = tmp_path / "experiments.yaml"
    file.write_text(
        f"experiments: [{{name: page, analysis: {analysis}, variants: "
        "[{name: a, weight: 1, strategy: {}}, {name: b, weight: 1, strategy: {}}]}]"
    )
    settings = Settings(
        topics=TopicSettings(folder=folder),
        recovery=RecoverySettings(folder=tmp_path / "store", partitions=1),
        experiments_file=file,
    )
    health = Health()
    with open_flow("recommend", settings, Stop(), health) as dataflow:
        run_flow(dataflow, settings, "recommend")
    lines = (folder / "assignments" / "00000.jsonl").read_bytes().splitlines()
    assert {orjson.loads(line)["variant"] for line in lines} == expected
    assert health.counts["malformed_result"] == 1
