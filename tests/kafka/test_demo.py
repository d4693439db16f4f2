"""`eddy demo`, which `make demo` starts, from its broker to its report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dataflows.demo.broker import EmbeddedBroker
from dataflows.demo.broker_process import NoBrokerError

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(3_000)]

N_EVENTS = 100


def test_the_demo_answers_each_rating_and_reports_what_came_of_them(tmp_path: Path) -> None:
    try:
        EmbeddedBroker(tmp_path / "broker").commands()
    except NoBrokerError as error:
        pytest.skip(str(error))
    out = tmp_path / "out.json"
    options = ["--events", str(N_EVENTS), "--sampled", "0.5", "--headless", "--no-browser", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "dataflows", "demo", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert "the learned ranker for everybody" in done.stderr or "the drawn slates say nothing" in done.stderr
    report = json.loads(out.read_bytes())
    assert (report["events"], report["slates"], report["dead_letters"]) == (N_EVENTS, N_EVENTS, 0)
