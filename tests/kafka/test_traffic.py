"""The loop closed over a broker: assignments make a result, the result moves the traffic of those who come later."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.flows import DEADLINE_S, FlowUnderTest, Platform

pytestmark = pytest.mark.kafka

EXPERIMENTS = """
experiments:
  - name: page
    analysis: {goal: conversion, stop: true, holdback: 0, age_s: 0, rules: {min_users: 20}}
    variants:
      - {name: control, weight: 1, strategy: {}}
      - {name: treatment, weight: 1, strategy: {sources: {trending: 1.0}}}
"""
N_USERS = 400
AGO_MS = 240_000
"""Of the first users, so that what they lead to is in force by now."""


@pytest.mark.slow
def test_users_who_come_after_a_verdict_get_the_better_variant_and_nobody_else_is_moved(
    broker: str, topics: Callable[..., str], tmp_path: Path
) -> None:
    prefix = topics(2)
    experiments = tmp_path / "experiments.yaml"
    experiments.write_text(EXPERIMENTS)
    settings = {"EDDY_EXPERIMENTS_FILE": str(experiments), "EDDY_EVALUATE__PUBLISH_EVERY_S": "0.2"}
    flows = [
        FlowUnderTest(broker, prefix, tmp_path / name, name, **settings).start() for name in ("recommend", "evaluate")
    ]
    platform = Platform(broker, prefix)
    began = int(time.time() * 1_000) - AGO_MS
    first = [f"u-{n}" for n in range(N_USERS)]
    try:
        platform.write_acts(first, "view", began)
        platform.wait_for("assignments", N_USERS)
        held = {entry["user_id"]: entry["variant"] for entry in platform.read("assignments")}
        # One in ten of the control converts, and nine in ten of the treatment.
        buyers = [user for n, user in enumerate(first) if (n % 10 == 0) != (held[user] == "treatment")]
        platform.write_acts(buyers, "purchase", began + 1_000)
        deadline = time.monotonic() + DEADLINE_S
        # Before anything newer is seen, since a look speaks from its own event time on.
        while not any(result["traffic"] for result in platform.read("experiment-results")):
            assert time.monotonic() < deadline, [flow.log.read_text() for flow in flows]
        n_new, newest = 0, [{"shares": None}]
        while any(entry["shares"] != [0.0, 1.0] for entry in newest):
            assert time.monotonic() < deadline, [flow.log.read_text() for flow in flows]
            users = [f"new-{n}" for n in range(n_new, n_new + 20)]
            n_new += 20
            platform.write_acts(users, "view", int(time.time() * 1_000))
            platform.wait_for("assignments", N_USERS + n_new)
            newest = [entry for entry in platform.read("assignments") if entry["user_id"] in users]
        platform.write_acts(first, "view", int(time.time() * 1_000))
        platform.wait_for("recommendations", 2 * N_USERS + len(buyers) + n_new)
        for flow in flows:
            assert flow.end(signal.SIGTERM) == 0, flow.log.read_text()
    finally:
        for flow in flows:
            flow.close()
    slates = platform.read("recommendations")
    assert {entry["variant"] for entry in newest} == {"treatment"}
    assert {slate["user_id"]: slate["variant"] for slate in slates if slate["user_id"] in held} == held
    result = platform.read("experiment-results")[-1]
    assert (result["verdict"], result["traffic"][-1]["shares"]) == ("winner", [0.0, 1.0])
    assert result["mismatch_p"] > 0.01
