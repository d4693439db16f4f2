from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import TestingSource

from dataflows.steps import tally as tally_step
from models.experiments.judge.tally import Tally
from models.experiments.judge.user_metrics import UserMetrics
from tests.flows.crashes import CrashOnce
from tests.flows.evaluating import FAR_AHEAD, Run, an_assignment, an_event, many

STEPS = {
    "outcomes": (UserMetrics, "observe"),
    "add_up": (tally_step, "add_up_changes"),
    "tally": (Tally, "add"),
    "publish": (tally_step, "look"),
    "snapshot of a user": (UserMetrics, "pack"),
    "snapshot of a tally": (Tally, "pack"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("calls", [1, 7])
def test_a_crash_in_any_step_changes_no_figure(step: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uninterrupted = Run(*many()).run().result
    run = Run(*many(), store=tmp_path / "store")
    CrashOnce(monkeypatch, *STEPS[step], calls).run_twice(run)
    assert run.result == uninterrupted


def test_a_stop_and_a_resume_go_on_where_they_were(tmp_path: Path):
    events, slates, assignments = many()
    stops: list[Any] = [*events[:30], TestingSource.EOF(), *events[30:70], TestingSource.EOF(), *events[70:]]
    run = Run(stops, slates, assignments, store=tmp_path / "store")
    for _ in range(3):
        run.run()
    assert run.result == Run(events, slates, assignments).run().result


def test_what_had_not_been_published_before_a_crash_is_published_after_it(tmp_path: Path):
    events, slates, assignments = many()
    run = Run([*events, TestingSource.ABORT()], slates, assignments, now=FAR_AHEAD, store=tmp_path / "store").run()
    assert run.written == []
    run.run()
    assert run.result == Run(*many()).run().result


def test_a_repeat_is_known_after_a_resume(tmp_path: Path):
    events: list[Any] = [an_event(1), TestingSource.EOF(), an_event(1)]
    run = Run(events, [], [an_assignment()], store=tmp_path / "store").run().run()
    assert run.counts == {"repeated": 1}
    assert run.value("activity") == 1
