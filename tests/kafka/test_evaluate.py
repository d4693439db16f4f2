"""The evaluate flow beside a running recommend flow, killed at random moments."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.flows import DEADLINE_S, FlowUnderTest, Platform

pytestmark = pytest.mark.kafka

EXPERIMENTS = """
experiments:
  - name: page
    variants:
      - {name: control, weight: 1, strategy: {}}
      - {name: treatment, weight: 1, strategy: {sources: {trending: 1.0}}}
"""
N_USERS = 100


def counted(platform: Platform) -> tuple[int, int]:
    """Users and their acts, as the newest result has them."""
    variants = platform.read("experiment-results")[-1]["variants"]
    acts = sum(
        variant["users"] * next(metric["value"] for metric in variant["metrics"] if metric["metric"] == "activity")
        for variant in variants
    )
    return sum(variant["users"] for variant in variants), round(acts)


def n_starts(flow: FlowUnderTest) -> int:
    return flow.log.read_text().count(" runs on ")


@pytest.mark.slow
def test_an_evaluation_that_is_killed_at_random_moments_counts_each_act_once(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    experiments = tmp_path / "experiments.yaml"
    experiments.write_text(EXPERIMENTS)
    settings = {"EDDY_EXPERIMENTS_FILE": str(experiments), "EDDY_EVALUATE__PUBLISH_EVERY_S": "0.2"}
    platform = Platform(broker, prefix)
    recommend = FlowUnderTest(broker, prefix, tmp_path / "recommend", **settings).start()
    settings["EDDY_RECOVERY__LEARN_EPOCH_INTERVAL_S"] = "1"
    evaluate = FlowUnderTest(broker, prefix, tmp_path / "evaluate", "evaluate", **settings)
    platform.write(N_USERS, N_USERS)
    time.sleep(0.01)  # what happens in the millisecond of an exposure comes before it
    rng = random.Random(7)  # noqa: S311 - no secret is made of it
    try:
        for number in (signal.SIGKILL, signal.SIGTERM):
            n_results = len(platform.read("experiment-results"))
            evaluate.start()
            platform.write(400, N_USERS)
            platform.wait_for("experiment-results", n_results + 1)
            time.sleep(rng.uniform(0, 2))
            platform.write(400, N_USERS)
            code = evaluate.end(number)
            assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL), evaluate.log.read_text()
        platform.wait_for("recommendations", platform.n_written)
        evaluate.start()
        # Each user's first act comes before the exposure that it causes.
        deadline = time.monotonic() + DEADLINE_S
        # Where the one before had counted all, this one has to have come as far as to drain.
        while counted(platform) != (N_USERS, platform.n_written - N_USERS) or n_starts(evaluate) < 3:
            assert time.monotonic() < deadline, counted(platform)
        assert evaluate.end(signal.SIGTERM) == 0, evaluate.log.read_text()
        assert recommend.end(signal.SIGTERM) == 0, recommend.log.read_text()
    finally:
        evaluate.close()
        recommend.close()
    assert counted(platform) == (N_USERS, platform.n_written - N_USERS)
    shown = subprocess.run(
        [sys.executable, "-m", "dataflows", "results", "page"],
        env=os.environ | {"EDDY_KAFKA__BOOTSTRAP_SERVERS": broker, "EDDY_TOPICS__PREFIX": prefix},
        capture_output=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr.decode()
    assert "page: " in shown.stdout.decode()
