import gzip
import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.errors import EddyError
from models.names import FEATURES, NetworkName
from models.rankers.checkpoint import save_checkpoint
from models.rankers.networks import new_network

NOW = 1_700_000_000_000


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EDDY_")]:
        monkeypatch.delenv(name)


def eddy(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["backtest", *map(str, arguments)], env={"COLUMNS": "200"})


def a_file(path: Path, sessions: list[str], start: int = 0) -> Path:
    """Write sessions, an item a letter, with no session ids but a user each."""
    lines = [
        {"event_id": f"{path.name}-{s}-{n}", "user_id": f"{path.name}-{s}", "item_id": item, "event_type": "click",
         "timestamp": NOW + 1_000 * (start + 100 * s + n)}
        for s, session in enumerate(sessions) for n, item in enumerate(session)
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def test_the_session_protocol_writes_a_row_for_each_model_and_prints_a_table(tmp_path: Path):
    train = a_file(tmp_path / "train.jsonl.gz", ["abc", "abd", "abc"])
    test = a_file(tmp_path / "test.jsonl", ["abc", "b", "cab"], start=9_000)
    out = tmp_path / "out.json"
    result = eddy("--protocol", "session", "--train", train, "--test", test, "-k", 2, "--json", out)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert (report["protocol"], report["k"], report["n"], report["default"]) == ("session", 2, 4, "eddy")
    assert set(report["models"]) == {
        "popularity", "own_items", "mf", "ease", "recent_popularity", "sequential_rules", "covisitation", "session_knn",
        "habits", "content", "sequence", "blend", "mlp", "eddy",
    }  # fmt: skip
    for figures in report["models"].values():
        assert {"hr", "mrr", "ndcg", "coverage", "novelty", "us_p50", "us_p99"} <= figures.keys()
        assert figures["hr_95"][0] <= figures["hr"] <= figures["hr_95"][1]
    assert report["unwinnable"] == 0
    # From c nobody went on, so that a after c is what no rule predicts.
    assert report["models"]["sequential_rules"]["hr"] == 3 / 4
    assert "4 predictions" in result.output
    assert "HR: eddy" in result.output


def test_the_prequential_protocol_reports_cold_starts_by_the_number_of_earlier_events(tmp_path: Path):
    events = a_file(tmp_path / "all.jsonl", ["abcab", "abc", "bca"])
    out, plot = tmp_path / "out.json", tmp_path / "plot.svg"
    asked = ("--protocol", "prequential", "--events", events, "--warmup", 0, "-k", 3)
    result = eddy(*asked, "--json", out, "--plot", plot)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert report["n"] == 11
    assert {name: group["n"] for name, group in report["cold_start"]["by_earlier_events"].items()} == {
        "0": 3, "1": 3, "2-4": 5, "5+": 0,
    }  # fmt: skip
    assert "2-4 (5)" in result.output
    assert "5+" not in result.output
    assert "unknown (11)" in result.output
    lines = ET.fromstring(plot.read_text()).findall("{http://www.w3.org/2000/svg}polyline")  # noqa: S314
    assert len(lines) == len(report["models"])


def test_the_leave_one_out_protocol_judges_last_acts_and_says_what_it_chose(tmp_path: Path):
    events = a_file(tmp_path / "all.jsonl", ["abcd", "abc", "bcda", "ab", "bcd"])
    out = tmp_path / "out.json"
    result = eddy("--protocol", "leave-one-out", "--events", events, "-k", 2, "--json", out)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert (report["protocol"], report["n"], report["default"]) == ("leave-one-out", 4, "eddy")
    assert {"own_items", "mf", "ease", "popularity", "eddy"} <= set(report["models"])
    assert report["chosen"]["ranker"] == "blend"  # so few acts train none
    assert report["chosen"]["by"]["n"] == 4
    assert set(report["chosen"]["by"]["models"]) == set(report["models"])
    assert "leave-one-out, 4 predictions" in result.output


def test_what_leave_one_out_cannot_use_is_an_error_that_names_the_file(tmp_path: Path):
    events = a_file(tmp_path / "short.jsonl", ["ab", "c"])
    told = eddy("--protocol", "leave-one-out", "--events", events)
    assert isinstance(told.exception, EddyError)
    assert "short.jsonl: nobody has 3 acts" in str(told.exception)


def test_a_protocol_without_its_file_names_the_missing_option(tmp_path: Path):
    train = a_file(tmp_path / "train.jsonl", ["ab"])
    assert "--test" in eddy("--protocol", "session", "--train", train).output
    for protocol in ("prequential", "leave-one-out"):
        assert "--events" in eddy("--protocol", protocol, "--train", train).output


def a_trained_ranker(path: Path, kind: NetworkName) -> Path:
    model = new_network(kind, len(FEATURES), seed=3)
    save_checkpoint(model, path, f"{kind}-1", {}, "softmax")
    return path


@pytest.mark.parametrize("protocol", ["session", "prequential"])
def test_a_checkpoint_is_judged_as_it_is_in_its_own_row_and_in_the_pipelines(tmp_path: Path, protocol: str):
    train = a_file(tmp_path / "train.jsonl", ["abc", "abd", "abc"])
    test = a_file(tmp_path / "test.jsonl", ["abc", "b", "cab"], start=9_000)
    one_file = ("--events", train, "--warmup", 0, "--learn-every", 1)
    files = ("--train", train, "--test", test) if protocol == "session" else one_file
    reports = []
    for name, options in (
        ("with", ("--checkpoint", a_trained_ranker(tmp_path / "gru", "gru"))),
        ("without", ("--ranker", "gru")),
    ):
        out = tmp_path / f"{name}.json"
        told = eddy("--protocol", protocol, *files, "-k", 4, "--repeats", "keep", "--json", out, *options)
        assert told.exit_code == 0, told.output
        reports.append(json.loads(out.read_text())["models"])
    by_checkpoint, by_blend = reports
    assert "gru" in by_checkpoint
    assert "mlp" not in by_checkpoint
    assert by_blend["gru"]["mrr"] == by_blend["blend"]["mrr"] == by_checkpoint["blend"]["mrr"]
    assert by_checkpoint["gru"]["mrr"] != by_checkpoint["blend"]["mrr"]


def test_a_checkpoint_of_another_kind_than_the_ranker_asked_for_is_refused(tmp_path: Path):
    events = a_file(tmp_path / "all.jsonl", ["abc"])
    asked = ("--protocol", "prequential", "--events", events)
    checkpoint = a_trained_ranker(tmp_path / "gru", "gru")
    told = eddy(*asked, "--checkpoint", checkpoint, "--ranker", "mlp")
    assert told.exit_code == 2
    assert "'gru', not 'mlp'" in told.output
    assert "--checkpoint" in eddy(*asked, "--fine-tune", "all").output
