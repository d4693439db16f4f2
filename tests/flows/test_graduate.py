"""Items that were shown often enough, from slates or `impression` events to the table that slates are made from."""

from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import TestingSource

from dataflows.run.settings import LearnSettings, Settings
from models.config import AttributionConfig, ImpressionKind
from models.items import ItemTable
from models.numeric.ids import hash64
from tests.flows.feedback import a_slate
from tests.flows.learning import NOW, Run, an_event


def settings_of(impressions: ImpressionKind = "slate", after: int = 3) -> Settings:
    return Settings(
        learn=LearnSettings(shards=2, min_users=1, graduates_after=after),
        attribution=AttributionConfig(impressions=impressions),
    )


def graduated(run: Run) -> list[str]:
    return [key.removeprefix("graduated/") for key, _ in run.written if key.startswith("graduated/")]


def some_slates(n: int, **changes: Any) -> list[Any]:
    return [a_slate(number, n_items=2, **changes) for number in range(n)]


def test_what_is_on_slates_graduates_and_the_table_knows():
    run = Run(slates=some_slates(3), settings=settings_of()).run()
    assert sorted(graduated(run)) == ["i-0", "i-1"]
    table = ItemTable(NOW)
    table.apply_rows([key.encode() for key in run.rows], list(run.rows.values()))
    assert {hash64(name) for name in ("i-0", "i-1")} == set(
        table.hashes[: table.n][table.graduated[: table.n]].tolist()
    )


def test_where_impressions_are_events_these_are_counted_and_not_slates():
    events = [an_event(n, item="seen", event_type="impression") for n in range(3)]
    run = Run(events=events, slates=some_slates(9), settings=settings_of("event")).run()
    assert graduated(run) == ["seen"]


def test_slates_without_consent_count_for_nothing():
    assert graduated(Run(slates=some_slates(9, consent=False), settings=settings_of()).run()) == []


def test_nobody_counts_unless_asked():
    run = Run(slates=some_slates(9), settings=settings_of(after=0)).run()
    assert graduated(run) == []


@pytest.mark.parametrize("stopped_after", [1, 4, 5])
def test_a_flow_that_was_stopped_counts_on_and_tells_each_graduation_once(tmp_path: Path, stopped_after: int):
    slates = some_slates(8)
    run = Run(
        slates=[*slates[:stopped_after], TestingSource.ABORT(), *slates[stopped_after:]],
        settings=settings_of(after=5),
        store=tmp_path / "store",
        batch_size=1,
    )
    run.run()
    run.run()
    assert sorted(graduated(run)) == ["i-0", "i-1"]
