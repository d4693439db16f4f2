from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import TestingSource

from dataflows.steps import shards
from dataflows.steps.learn_content import ContentState
from models.counts.item_statistics import ItemStatistics
from models.counts.sessions import NewestSessions
from models.counts.transitions import UserTransitions
from models.counts.trending import TrendCounts
from tests.flows.crashes import CrashOnce
from tests.flows.learning import FAR_AHEAD, Run, an_event, many_entries, many_events

STEPS = {
    "transitions": (UserTransitions, "apply"),
    "add_up": (shards, "add_up_batch"),
    "learn_items": (ItemStatistics, "learn"),
    "publish_items": (ItemStatistics, "take_changed"),
    "publish_trending": (TrendCounts, "take_changed"),
    "snapshot": (ItemStatistics, "pack"),
    "learn_sessions": (NewestSessions, "learn"),
    "publish_sessions": (NewestSessions, "take_changed"),
    "learn_content": (ContentState, "apply"),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("calls", [1, 17])
def test_a_crash_in_any_step_changes_nothing_that_consumers_end_with(
    step: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    uninterrupted = Run(many_events(), many_entries()).run()
    run = Run(many_events(), many_entries(), store=tmp_path / "store")
    CrashOnce(monkeypatch, *STEPS[step], calls).run_twice(run)
    assert run.rows == uninterrupted.rows


def test_what_had_not_been_published_before_a_crash_is_published_after_it(tmp_path: Path):
    events = [*many_events(), TestingSource.ABORT()]
    run = Run(events, now=FAR_AHEAD, store=tmp_path / "store").run()
    assert run.written == []
    run.run()
    assert run.rows == Run(many_events(), now=FAR_AHEAD).run().rows


def test_a_stop_and_a_resume_go_on_where_they_were(tmp_path: Path):
    events, entries = many_events(), many_entries()
    stops: list[Any] = [
        *events[:100],
        TestingSource.EOF(),
        *events[100:250],
        TestingSource.EOF(),
        *events[250:],
    ]
    run = Run(stops, entries, store=tmp_path / "store")
    for _ in range(3):
        run.run()
    assert run.rows == Run(events, entries).run().rows


def test_a_repeat_is_known_after_a_resume(tmp_path: Path):
    run = Run([an_event(1), TestingSource.EOF(), an_event(1)], store=tmp_path / "store").run().run()
    assert run.counts == {"repeated": 1}
