"""The notebooks of `deploy/notebooks`, run as scripts."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import ROOT

pytest.importorskip("marimo")

NOTEBOOKS = ROOT / "deploy" / "notebooks"
MODEL = {"coverage": 0.5, "novelty": 8.0, "us_p99": 900.0}


def run(name: str, *arguments: object) -> str:
    asked = [sys.executable, str(NOTEBOOKS / name), "--", *map(str, arguments)]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout


def some_figures() -> dict[str, object]:
    models = {
        name: MODEL | dict.fromkeys(("hr", "mrr", "ndcg"), value) | {f"{key}_95": [value - 0.01, value + 0.01]
        for key in ("hr", "mrr", "ndcg")}
        for name, value in (("popularity", 0.1), ("eddy", 0.3))
    }  # fmt: skip
    group = {"n": 40, "models": {name: {"hr": 0.2, "mrr": 0.1} for name in models}}
    better = {"baseline": "popularity", "difference": 0.2, "difference_95": [0.1, 0.3], "p": 0.0005}
    return {
        "protocol": "prequential", "k": 20, "n": 40, "models": models, "default": "eddy",
        "significance": {"hr": better, "mrr": None},
        "cold_start": {"by_earlier_events": {"0": group, "1": group | {"n": 0}}, "by_item_age": {"unknown": group}},
    }  # fmt: skip


def test_the_notebook_on_backtests_names_the_best_way_and_says_whether_it_can_be_believed(tmp_path: Path):
    path = tmp_path / "out.json"
    path.write_text(json.dumps(some_figures()))
    told = run("explore_backtest.py", "--figures", path)
    assert "best by hr: eddy 0.3000" in told
    assert "HR**: eddy earns +0.2000 beside popularity" in told
    assert "hr by group: 0 40" in told


def test_the_notebook_on_experiments_finds_a_large_lift_and_errs_less_than_a_naive_test():
    told = run("design_experiment.py", "--runs", 100)
    rows = [ast.literal_eval(line) for line in told.splitlines()]
    shares = {row["true lift"]: float(row["found"].rstrip("%")) for row in rows}
    assert list(shares) == ["+0%", "+2%", "+5%", "+10%", "+20%"]
    assert shares["+0%"] <= 10 < float(rows[0]["naive test"].rstrip("%"))
    assert shares["+0%"] < shares["+10%"] <= shares["+20%"]
    assert shares["+20%"] > 90
