"""`eddy chaos`: finds nothing where all is well, and what is broken where something is."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.places import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(1_800)]

BROKEN = Path(__file__).parent / "broken"
"""What breaks the sinks of processes on whose path it is."""


def chaos(out: Path, *options: str, path: str = "") -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit code and what it counted."""
    done = subprocess.run(
        [sys.executable, "-m", "dataflows", "chaos", "--json", str(out), "--logs", str(out.parent / "logs"), *options],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (path, str(ROOT))))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.exists(), done.stderr
    return done.returncode, json.loads(out.read_text())


def test_three_kills_of_each_flow_lose_nothing_and_write_nothing_twice(tmp_path: Path) -> None:
    code, found = chaos(tmp_path / "found.json", "--kills", "3")
    promises = ("lost", "duplicated", "state_jumps", "tables_differ", "results_differ")
    assert {name: found[name] for name in promises} == dict.fromkeys(promises, 0), found["found"]
    assert code == 0
    assert found["kills"] >= 3
    assert found["events"] > 0


def test_a_sink_that_forgets_what_it_owes_is_found_out(tmp_path: Path) -> None:
    flows = "--flows", "recommend", "--processes", "1", "--epochs", "20", "--rate", "400"
    code, found = chaos(
        tmp_path / "found.json", "--kills", "4", "--faults", "term while it repeats", *flows, path=str(BROKEN)
    )
    assert code == 1
    assert found["duplicated"] > 0
    assert found["found"]["duplicated"]["recommendations"]
    assert found["lost"] == 0
