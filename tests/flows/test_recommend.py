"""The recommend flow in memory, with a real item table."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.recommend import RecommendInputs, RecommendOutputs, build
from dataflows.records import Record
from dataflows.run.settings import EventSettings, LearnSettings, Settings
from dataflows.steps.rest import FindRested
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Item
from models.serving.recommender import Recommender
from models.strategy import Strategy
from tests.experiments import experiments_from
from tests.tables import FixedTables

NOW = 1_700_000_000_000


def an_event(number: int, **changes: Any) -> Record:
    fields = {
        "event_id": f"e-{number}",
        "user_id": "u",
        "item_id": "i-0",
        "event_type": "view",
        "timestamp": NOW + 1_000 * number,
    }
    message = fields | changes
    return Record(0, number, NOW + 1_000 * number, message["user_id"].encode(), orjson.dumps(message))


def a_request(number: int, **changes: Any) -> Record:
    fields = {"request_id": f"r-{number}", "user_id": "u", "timestamp": NOW + 1_000 * number}
    message = fields | changes
    return Record(0, number, NOW + 1_000 * number, message["user_id"].encode(), orjson.dumps(message))


class Run:
    """The flow over given records; what it wrote, by topic."""

    def __init__(
        self,
        events: list[Any],
        requests: list[Any] | None = None,
        experiments: Experiments | None = None,
        store: Path | None = None,
        erasures: list[Any] | None = None,
        settings: Settings | None = None,
        tracer: Any = None,
        find_rested: FindRested | None = None,
    ) -> None:
        table = ItemTable(NOW)
        table.apply_items([Item(f"i-{n}", title=f"Lantern {n}", categories=[f"c{n % 3}"]) for n in range(30)], [])
        self._written: dict[str, list[Any]] = {
            "recommendations": [],
            "assignments": [],
            "dead_letters": [],
            "erasure_receipts": [],
        }
        self.counts: Counter[str] = Counter()
        self._flow = build(
            RecommendInputs(
                TestingSource(events, 10), TestingSource(requests or [], 10), TestingSource(erasures or [], 10)
            ),
            RecommendOutputs(**{name: TestingSink(written) for name, written in self._written.items()}),
            settings or Settings(),
            experiments or Experiments(),
            Recommender(table),
            FixedTables(table),
            lambda: datetime.now(UTC),
            self.counts,
            tracer=tracer,
            find_rested=find_rested,
        )
        self._recovery: dict[str, Any] = {}
        if store is not None:
            store.mkdir()
            init_db_dir(store, 2)
            self._recovery = {"recovery_config": RecoveryConfig(store)}

    def run(self) -> "Run":
        run_main(self._flow, epoch_interval=timedelta(0), **self._recovery)
        return self

    def __getitem__(self, topic: str) -> list[dict[str, Any]]:
        return [orjson.loads(outgoing.value) for _, outgoing in self._written[topic]]


def test_each_event_makes_one_slate_and_an_impression_none():
    run = Run([an_event(0), an_event(1, event_type="impression"), an_event(2)]).run()
    assert [slate["trigger_id"] for slate in run["recommendations"]] == ["e-0", "e-2"]
    assert [slate["n_events"] for slate in run["recommendations"]] == [1, 3]


@pytest.mark.parametrize("batches", [1, 3])
def test_of_triggers_in_a_run_of_offsets_only_the_first_makes_a_slate(tmp_path: Path, batches: int):
    settings = Settings(events=EventSettings(conflate=4))
    events = [an_event(number) for number in (1, 2, 3, 4, 7, 8, 8, 13)]
    part = -(-len(events) // batches)
    parts = [events[at : at + part] for at in range(0, len(events), part)]
    with_crashes = [item for batch in parts for item in (*batch, TestingSource.ABORT())]
    run = Run(with_crashes, settings=settings, store=tmp_path / "store")
    for _ in range(len(parts) + 1):
        run.run()
    made = [slate["trigger_id"] for slate in run["recommendations"]]
    assert list(dict.fromkeys(made)) == ["e-1", "e-4", "e-8", "e-13"]


def test_what_is_conflated_still_counts_and_a_request_is_always_answered():
    settings = Settings(events=EventSettings(conflate=100))
    run = Run([an_event(0), an_event(1)], [a_request(5), a_request(6)], settings=settings).run()
    made = {slate["trigger_id"]: slate["n_events"] for slate in run["recommendations"]}
    assert made.keys() == {"e-0", "r-5", "r-6"}
    assert run.counts["conflated"] == 1
    assert run.counts["applied"] == 2


def test_a_duplicate_event_counts_once_and_makes_one_slate():
    run = Run([an_event(0), an_event(0), an_event(1)]).run()
    assert [slate["n_events"] for slate in run["recommendations"]] == [1, 2]
    assert run.counts["duplicate"] == 1


def test_a_late_event_goes_to_the_dead_letters_with_its_bytes():
    late = an_event(1, timestamp=NOW - 601_000)
    run = Run([an_event(0), late, an_event(2)]).run()
    assert [(letter["reason"], letter["offset"]) for letter in run["dead_letters"]] == [("late", 1)]
    assert len(run["recommendations"]) == 2


def test_a_user_and_items_never_seen_get_a_slate_for_what_they_look_at():
    slate = Run([an_event(0)]).run()["recommendations"][0]
    assert len(slate["items"]) > 0
    assert "i-0" not in {item["item_id"] for item in slate["items"]}


def test_a_request_ranks_the_candidates_that_it_brings():
    run = Run([], [a_request(0, candidates=["i-3", "i-4"], n_items=2)]).run()
    assert {item["item_id"] for item in run["recommendations"][0]["items"]} == {"i-3", "i-4"}


def test_a_repeated_request_makes_one_slate():
    assert len(Run([], [a_request(0), a_request(0)]).run()["recommendations"]) == 1


def test_an_assignment_is_written_once_a_user_and_the_slate_names_the_variant():
    experiments = experiments_from(
        [
            {
                "name": "e",
                "variants": [{"name": "a", "weight": 1, "strategy": {}}, {"name": "b", "weight": 1, "strategy": {}}],
            }
        ]
    )
    run = Run([an_event(n, user_id=f"u-{n % 2}") for n in range(6)], experiments=experiments).run()
    assert sorted(entry["user_id"] for entry in run["assignments"]) == ["u-0", "u-1"]
    variants = {entry["user_id"]: entry["variant"] for entry in run["assignments"]}
    assert all(slate["variant"] == variants[slate["user_id"]] for slate in run["recommendations"])


def test_a_crashed_flow_goes_on_where_it_was(tmp_path: Path):
    events: list[Any] = [an_event(n) for n in range(20)]
    events.insert(10, TestingSource.ABORT())
    run = Run(events, store=tmp_path / "store")
    run.run()
    run.run()
    slates = {slate["trigger_id"]: slate["n_events"] for slate in run["recommendations"]}
    assert slates == {f"e-{n}": n + 1 for n in range(20)}


def test_the_same_cause_gives_the_same_slate():
    first, second = (Run([an_event(n) for n in range(5)]).run()["recommendations"] for _ in range(2))
    assert first == second


def test_a_strategy_whose_ranker_is_not_loaded_is_refused_at_start():
    experiments = experiments_from(
        [
            {
                "name": "e",
                "variants": [
                    {"name": "a", "weight": 1, "strategy": {"ranker": "mlp"}},
                    {"name": "b", "weight": 1, "strategy": {}},
                ],
            }
        ]
    )
    with pytest.raises(ValueError, match="mlp"):
        Run([], experiments=experiments)


def test_a_place_for_cold_items_that_nobody_lets_graduate_is_refused_at_start():
    budget = Settings(strategy=Strategy(cold_share=0.1))
    with pytest.raises(ValueError, match="EDDY_LEARN__GRADUATES_AFTER"):
        Run([], settings=budget)
    Run([], settings=Settings(strategy=Strategy(cold_share=0.1), learn=LearnSettings(graduates_after=30)))
