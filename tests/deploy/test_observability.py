"""Dashboards, alerts and the runbook speak of metrics that exist, and each alert fires where it should."""

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import generate_latest

from dataflows.run.runtime import Health
from tests import places

FOLDER = places.ROOT / "deploy" / "observability"
RUNBOOK = places.ROOT / "deploy" / "README.md"
DASHBOARD = json.loads((FOLDER / "grafana" / "eddy.json").read_text())
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"][0]["rules"]
METRIC = re.compile(r"\b(?:eddy|process)_[a-z_]+\b")
ELSEWHERE = {
    "eddy_lag": "dataflows/run/metrics.py",
    "eddy_table_items": "dataflows/run/wiring.py",
    "eddy_table_age_seconds": "dataflows/run/wiring.py",
    "eddy_ranker_info": "dataflows/run/metrics.py",
    "eddy_store_bytes": "dataflows/run/metrics.py",
    "eddy_door_seconds": "dataflows/serve/timing.py",
    "eddy_door_streams": "dataflows/serve/app.py",
    "eddy_door": "dataflows/serve/app.py",
}
"""Metrics that a running flow or door adds, and where they are named."""

SERIES: dict[str, dict[str, str]] = {
    "EddyFlowNotReady": {'eddy_ready{flow="learn"}': "0x60"},
    "EddyFlowGone": {'eddy_ready{flow="learn"}': "1x60"},
    "EddyFallsBehind": {'eddy_lag{flow="recommend", topic="events", partition="0"}': "5000+600x60"},
    "EddySlatesSlow": {
        'eddy_event_to_slate_seconds_bucket{flow="recommend", le="1.0"}': "0+10x60",
        'eddy_event_to_slate_seconds_bucket{flow="recommend", le="5.0"}': "0+100x60",
        'eddy_event_to_slate_seconds_bucket{flow="recommend", le="+Inf"}': "0+100x60",
    },
    "EddyTablesOld": {
        'eddy_table_age_seconds{flow="recommend"}': "1000x60",
        'eddy_event_to_slate_seconds_count{flow="recommend"}': "0+10x60",
    },
    "EddySnapshotsStopped": {'eddy_last_snapshot_timestamp_seconds{flow="learn"}': "10x60"},
    "EddySnapshotsLong": {
        'eddy_snapshot_seconds_bucket{flow="learn", le="1.0"}': "0+1x60",
        'eddy_snapshot_seconds_bucket{flow="learn", le="5.0"}': "0+10x60",
        'eddy_snapshot_seconds_bucket{flow="learn", le="+Inf"}': "0+10x60",
    },
    "EddyBadMessages": {'eddy_messages_total{flow="learn", outcome="malformed"}': "0+600x60"},
    "EddyDoorFails": {
        'eddy_door_seconds_count{status="503"}': "0+10x60",
        'eddy_door_seconds_count{status="200"}': "0+100x60",
    },
}
"""Series, a value a minute, by which each alert has to fire."""
QUIET = {
    'eddy_ready{flow="recommend"}': "1x60",
    'eddy_lag{flow="recommend", topic="events", partition="0"}': "50x60",
    'eddy_table_age_seconds{flow="recommend"}': "0+60x60",
    'eddy_event_to_slate_seconds_count{flow="recommend"}': "9x60",
    'eddy_last_snapshot_timestamp_seconds{flow="recommend"}': "0+60x60",
    'eddy_messages_total{flow="learn", outcome="applied"}': "0+6000x60",
    'eddy_door_seconds_count{status="200"}': "0+100x60",
    'eddy_door_seconds_count{status="404"}': "0+100x60",
}
"""Series by which none may: nobody acts, so tables grow old."""


def exported() -> set[str]:
    """Name the metrics that a flow exports from the start, and those of ELSEWHERE."""
    health = Health("recommend", counts=Counter(applied=1))
    lines = generate_latest(health.metrics.registry).decode().splitlines()
    return {line.split()[2] for line in lines if line.startswith("# TYPE")} | set(ELSEWHERE)


def base(name: str) -> str:
    """Take off what Prometheus adds to a metric's name."""
    known = exported()
    return next((name.removesuffix(end) for end in ("", "_bucket", "_sum", "_count", "_total")
                 if name.removesuffix(end) in known), name)  # fmt: skip


def expressions() -> list[str]:
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return asked + [rule["expr"] for rule in RULES]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_exported(expression: str):
    names = set(METRIC.findall(expression))
    assert names
    assert {base(name) for name in names} <= exported()


@pytest.mark.parametrize(("name", "file"), ELSEWHERE.items())
def test_what_is_added_later_is_named_where_it_is_said_to_be(name: str, file: str):
    assert f'"{name}"' in (places.ROOT / file).read_text()


def test_every_alert_has_a_line_in_the_runbook_and_a_series_that_fires_it():
    headings = {line.lstrip("# ").lower() for line in RUNBOOK.read_text().splitlines() if line.startswith("#")}
    for rule in RULES:
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (places.ROOT / file) == RUNBOOK
        assert anchor in headings
    assert {rule["alert"] for rule in RULES} == set(SERIES)


def test_no_two_panels_lie_on_each_other():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_each_alert_fires_by_its_series_and_none_by_quiet_ones(tmp_path: Path):
    def a_test(alert: str, series: dict[str, str], *, fires: bool) -> dict[str, Any]:
        query = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) > 0'
        samples = [{"labels": "{}", "value": 1}] if fires else []
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": query, "eval_time": "50m", "exp_samples": samples}],
        }

    tests = [a_test(alert, series, fires=True) for alert, series in SERIES.items()]
    tests += [a_test(alert, QUIET, fires=False) for alert in SERIES]
    (tmp_path / "rules.yaml").write_bytes((FOLDER / "rules.yaml").read_bytes())
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
