import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.cli.result_figures import HEIGHT, NOTHING_YET, WIDTH, plot_lifts
from dataflows.errors import EddyError
from dataflows.files.lines import write_line
from dataflows.records import Outgoing
from models.experiments.judge.metrics import METRICS
from models.messages import (
    Decision,
    ExperimentResult,
    GuardrailResult,
    MetricResult,
    ResultPoint,
    VariantResult,
    VersionResult,
)


def a_variant(name: str, users: int = 400, lift: tuple[float, float] | None = None, verdict: str = "running"):
    metrics = [
        MetricResult(metric.name, 0.25, 0.01)
        if lift is None
        else MetricResult(metric.name, 0.3, 0.01, (0.0, 0.1), lift, 0.2, verdict)
        for metric in METRICS
    ]
    return VariantResult(name, users, 12, 0.5, metrics)


def a_result(name: str = "page", verdict: str = "running", at: int = 5, users: int = 400) -> ExperimentResult:
    variants = [a_variant("control", users), a_variant("treatment", users, (-0.05, 0.21), verdict)]
    decision = None if verdict == "running" else Decision(verdict, at, 700)
    history = [ResultPoint(at, 800, {"treatment": (-0.05, 0.21)})]
    return ExperimentResult(
        name, "d", "ctr", "slate", at, 0.05, 0.02, 0.8, verdict, decision, variants, history
    )  # fmt: skip


def a_topic(folder: Path, *results: ExperimentResult) -> Path:
    (folder / "experiment-results").mkdir(parents=True)
    lines = [write_line(Outgoing(result.experiment, "id", orjson.dumps(result))) for result in results]
    (folder / "experiment-results" / "00000.jsonl").write_bytes(b"".join(lines))
    return folder


def eddy_results(folder: Path, *arguments: str) -> Result:
    environment = {"EDDY_TOPICS__FOLDER": str(folder), "COLUMNS": "300"}
    return CliRunner().invoke(app, ["results", *arguments], env=environment)


def test_the_newest_result_is_shown_with_its_figures(tmp_path: Path):
    folder = a_topic(tmp_path, a_result(users=1), a_result(), a_result("other"))
    output = eddy_results(folder, "page").output
    assert "page: running" in output
    assert "800 users" in output
    assert "-5.0% to +21.0%" in output
    assert "other" not in output


def test_metrics_without_data_are_left_out_and_interleaving_shows_credit_instead_of_lift(tmp_path: Path):
    metrics = [MetricResult(metric.name, 0.0, 0.0) for metric in METRICS]
    metrics[-1] = replace(metrics[-1], value=0.4, error=0.1, difference=(0.1, 0.7), p=0.01, verdict="winner")
    variants = [VariantResult("interleaved", 300, 12, 1.0, metrics)]
    history = [ResultPoint(5, 300, {"second": (0.1, 0.7)})]
    result = replace(a_result(verdict="winner"), goal="preference", variants=variants, history=history)
    output = eddy_results(a_topic(tmp_path, result)).output
    assert "+0.1 to +0.7" in output
    assert "credit of preference, second over the other" in output
    assert "conversion" not in output


def test_all_experiments_are_shown_where_none_is_named(tmp_path: Path):
    output = eddy_results(a_topic(tmp_path, a_result(), a_result("other"))).output
    assert "page: running" in output
    assert "other: running" in output


def test_a_decision_is_shown_with_its_delta(tmp_path: Path):
    output = eddy_results(a_topic(tmp_path, a_result(verdict="no difference")), "page").output
    assert "no difference within 2.0%" in output
    assert "first decided: no difference, at 700 users" in output


def a_guarded(verdict: str, guard: str, lift: tuple[float, float], **fields: Any) -> ExperimentResult:
    """A result whose treatment wins its goal and has a guardrail."""
    control, treatment = a_variant("control"), a_variant("treatment", 400, (0.02, 0.2), "winner")
    guards = [GuardrailResult("latency_ms", 0.05, lift, guard)]
    versions = [VersionResult("mlp-7", 40, 400, 20, 30, 6)]
    treatment = replace(treatment, judged=300, guardrails=guards, versions=versions)
    return replace(a_result(verdict=verdict), variants=[control, treatment], **fields)


def test_a_winner_says_why_it_won_what_follows_and_that_its_guardrails_hold(tmp_path: Path):
    decision = Decision("winner", 5, 700, "treatment")
    result = a_guarded("winner", "holds", (-0.01, 0.03), decision=decision, holdback=0.05, value_cap=120.0)
    output = eddy_results(a_topic(tmp_path, result)).output
    assert "Decided at 700 users for treatment: the bounds of ctr excluded 0" in output
    assert "New users get treatment; 5% of them are held back with the others." in output
    assert "at most 120 counts" in output
    assert "-1.0% to +3.0%" in output
    assert "mlp-7" in output
    assert "5.00%" in output  # 20 of 400 items
    assert "20.00%" in output  # 6 of 30 slates


@pytest.mark.parametrize(("guard", "lift", "says"), [
    ("open", (-0.01, 0.08), "is not sure to hold, -1.0% to +8.0% where +5.0% is borne"),
    ("broken", (0.06, 0.08), "is broken, +6.0% to +8.0% where +5.0% is borne"),
])  # fmt: skip
def test_a_winner_that_its_guardrail_holds_back_says_so(
    guard: str, lift: tuple[float, float], says: str, tmp_path: Path
):
    output = eddy_results(a_topic(tmp_path, a_guarded("running", guard, lift, decision=None))).output
    assert f"treatment would win, and may not: its guardrail latency_ms {says}" in output


def test_users_who_are_too_young_and_an_old_state_are_named(tmp_path: Path):
    result = a_guarded("running", "open", (-0.1, 0.1), decision=None, age_s=7_200, note="a note")
    output = eddy_results(a_topic(tmp_path, result)).output
    assert "500 users wait to be judged until they have been exposed for 2 hours." in output
    assert "Nothing is decided: a note." in output


def test_a_decision_that_the_newest_look_does_not_see_stands_and_says_so(tmp_path: Path):
    result = replace(a_result(), verdict="winner", decision=Decision("winner", 5, 700, "treatment"))
    output = eddy_results(a_topic(tmp_path, result)).output
    assert "by now the lift of ctr lies between -5.0% and +21.0%; what was decided stands" in output


def test_the_result_can_be_written_as_json(tmp_path: Path):
    out = tmp_path / "result.json"
    eddy_results(a_topic(tmp_path / "topics", a_result()), "page", "--json", str(out))
    assert json.loads(out.read_text()) == json.loads(orjson.dumps(a_result()))


@pytest.mark.parametrize(("arguments", "text"), [(("none",), "there are results of page"), ((), "no result")])
def test_an_experiment_without_results_is_refused_by_name(arguments: tuple[str, ...], text: str, tmp_path: Path):
    folder = a_topic(tmp_path, *([a_result()] if arguments else []))
    error = eddy_results(folder, *arguments).exception
    assert isinstance(error, EddyError)
    assert text in str(error)


def test_a_record_that_is_no_result_is_named_by_its_offset(tmp_path: Path):
    folder = a_topic(tmp_path, a_result())
    with (folder / "experiment-results" / "00000.jsonl").open("ab") as file:
        file.write(b"{}\n")
    assert "experiment-results/0, offset 1" in str(eddy_results(folder).exception)


def a_history(*bounds: tuple[float | None, float | None]) -> list[ResultPoint]:
    return [ResultPoint(n, 100 * (n + 1), {"t": pair}) for n, pair in enumerate(bounds)]


def test_the_plot_shows_the_band_and_where_it_leaves_zero():
    lines = plot_lifts(a_history((None, None), (-0.1, 0.3), (0.1, 0.2)), "t", "lift").splitlines()
    assert lines[0] == "lift"
    assert len(lines) == HEIGHT + 3
    assert all(len(line) <= WIDTH + 10 for line in lines)
    [zero] = [line for line in lines if line.lstrip().startswith("0 ")]
    before, after = zero.split("│")[1][0], zero.split("│")[1][-1]
    assert (before, after) == ("▒", "─")
    assert lines[-1].split() == ["200", "300", "users"]


def test_the_plot_says_that_no_lift_is_known_yet():
    assert plot_lifts(a_history((None, None)), "t", "lift") == f"lift: {NOTHING_YET}"
    assert plot_lifts([], "t", "lift") == f"lift: {NOTHING_YET}"
