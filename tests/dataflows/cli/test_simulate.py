import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dataflows.cli.main import app
from dataflows.errors import EddyError


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", "--runs", "60", *arguments], env={"COLUMNS": "200"})


def test_the_figures_are_written_and_shown(tmp_path: Path):
    out = tmp_path / "figures.json"
    result = simulate("--looks", "20", "--lift", "0.1", "--json", str(out))
    assert result.exit_code == 0
    figures = json.loads(out.read_text())
    assert list(figures) == [
        "runs",
        "looks",
        "lift",
        "positive_rate",
        "naive_positive_rate",
        "median_users_at_verdict",
        "mismatch_rate",
    ]
    assert (figures["runs"], figures["looks"], figures["lift"]) == (60, 20, 0.1)
    assert figures["positive_rate"] >= 0.8
    assert f"{figures['median_users_at_verdict']:,}" in result.output


def test_without_a_verdict_there_is_no_number_of_users(tmp_path: Path):
    out = tmp_path / "figures.json"
    assert "never called" in simulate("--looks", "1", "--users", "300", "--json", str(out)).output
    assert json.loads(out.read_text())["median_users_at_verdict"] is None


def test_alarms_after_the_named_users_do_not_count(tmp_path: Path):
    out, later = tmp_path / "first.json", tmp_path / "later.json"
    simulate("--split", "0.49", "--mismatch-by", "1500", "--json", str(out))
    simulate("--split", "0.49", "--mismatch-by", "200000", "--json", str(later))
    assert json.loads(out.read_text())["mismatch_rate"] < json.loads(later.read_text())["mismatch_rate"]


def test_an_impossible_plan_says_why():
    result = simulate("--rate", "1.5")
    assert isinstance(result.exception, EddyError)
    with pytest.raises(EddyError, match="between 0 and 1"):
        raise result.exception


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    result = simulate("--json", str(tmp_path / "none" / "figures.json"))
    assert "none" in str(result.exception)
