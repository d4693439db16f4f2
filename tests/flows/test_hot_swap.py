"""Versions of a ranker that arrive while the recommend flow runs."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
import torch
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.following.rows import NewVersion, RankerRows
from dataflows.recommend import RecommendInputs, RecommendOutputs, build
from dataflows.records import Record
from dataflows.run.settings import Settings
from models.experiments.assign.assignment import Experiments
from models.items import ItemTable
from models.messages import Item
from models.names import FEATURES
from models.online.published import Published
from models.online.versions import Row, rows_of, rows_of_sequence
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.linear import Linear
from models.rankers.network import NetworkConfig
from models.serving.recommender import Recommender
from models.strategy import Strategy
from tests.flows.test_recommend import NOW, an_event
from tests.models.sequence.builders import a_sequence_model
from tests.tables import FixedTables

AGE = FEATURES.index("age")


def by_age(number: int, sign: float) -> Published:
    """Rank old items first, or new ones."""
    model = Linear(NetworkConfig(len(FEATURES)))
    with torch.no_grad():
        model.weight[AGE] = sign
    checkpoint = Checkpoint(model, f"linear-{number}", weights_digest(model))
    return Published(checkpoint, number, is_rollback=False, learned_until=NOW, evidence={})


def records(rows: list[Row]) -> list[Record]:
    return [Record(0, offset, NOW, row.key.encode(), row.value) for offset, row in enumerate(rows)]


class ArrivingTables(FixedTables):
    """A table that stays as it is, while rows of rankers arrive before the given batches."""

    def __init__(self, table: ItemTable, arrivals: dict[int, list[Record]]) -> None:
        super().__init__(table)
        self.counts: Counter[str] = Counter()
        self._arrivals = arrivals
        self._rows = RankerRows(self.counts)
        self._n_batches = 0
        self._new: list[NewVersion] = []

    def refresh(self) -> None:
        self._new += self._rows.take(self._arrivals.get(self._n_batches, []))[1]
        self._n_batches += 1

    def take_versions(self) -> list[NewVersion]:
        taken, self._new = self._new, []
        return taken


BY_LINEAR = Strategy(ranker="linear", exploration_slots=0, diversity=0.0, max_per_category=100)
BY_SEQUENCE = Strategy(sources={"sequence": 1.0, "trending": 0.001}, exploration_slots=0)


def slates_with(
    arrivals: dict[int, list[Record]], n: int = 4, strategy: Strategy = BY_LINEAR
) -> tuple[list[dict[str, Any]], ArrivingTables]:
    """Serve one event a batch by a strategy whose ranker is awaited."""
    table = ItemTable(NOW)
    table.apply_items([Item(f"i-{k}", created_at=NOW - k * 86_400_000) for k in range(1, 20)], [])
    tables = ArrivingTables(table, arrivals)
    written: list[Any] = []
    flow = build(
        RecommendInputs(
            TestingSource([an_event(k, user_id=f"u-{k}", item_id="i-1") for k in range(n)], 1),
            TestingSource([]),
            TestingSource([]),
        ),
        RecommendOutputs(TestingSink(written), TestingSink([]), TestingSink([]), TestingSink([])),
        Settings(strategy=strategy),
        Experiments(),
        Recommender(table, awaited=["linear"]),
        tables,
        lambda: datetime.now(UTC),
        Counter(),
    )
    run_main(flow)
    return [orjson.loads(outgoing.value) for _, outgoing in written], tables


def test_each_slate_names_the_version_that_made_it_and_none_is_lost():
    old_first, new_first = records(rows_of("linear", by_age(1, 1.0))), records(rows_of("linear", by_age(2, -1.0)))
    slates, _ = slates_with({1: old_first, 3: new_first})
    assert [slate["model_version"] for slate in slates] == [
        "blend@fixed",
        "linear-1@fixed",
        "linear-1@fixed",
        "linear-2@fixed",
    ]
    assert len({slate["recommendation_id"] for slate in slates}) == 4


def test_a_version_that_is_damaged_or_of_another_release_changes_nothing():
    good, bad = by_age(1, 1.0), by_age(2, -1.0)
    assert bad.checkpoint is not None
    damaged = Checkpoint(bad.checkpoint.model, "linear-2", "0")
    rows = rows_of("linear", Published(damaged, 2, is_rollback=False, learned_until=NOW, evidence={}))
    garbage = [Record(0, 0, NOW, b"ranker/linear/x", b"{")]
    slates, tables = slates_with({0: records(rows_of("linear", good)), 1: records(rows), 2: garbage})
    assert {slate["model_version"] for slate in slates} == {"linear-1@fixed"}
    assert tables.counts == {"unusable_ranker": 1, "malformed_row": 1}


def test_rows_of_tables_go_by_untouched():
    other = Record(0, 7, NOW, b"neighbours/i-1", b"row")
    rest, changes = RankerRows(Counter()).take([other, *records(rows_of("linear", by_age(1, 1.0)))])
    assert rest == [other]
    assert [name for name, _ in changes] == ["linear"]


def test_a_sequence_model_proposes_from_the_batch_on_at_which_it_arrives():
    old, new = (records(rows_of_sequence(a_sequence_model(seed), (), ())) for seed in (1, 2))
    slates, tables = slates_with({2: old, 3: new}, 5, BY_SEQUENCE)
    sources = [{item["source"] for item in slate["items"]} for slate in slates]
    assert sources == [set(), set(), {"sequence"}, {"sequence"}, {"sequence"}]
    by_old, by_new, again = ([item["item_id"] for item in slate["items"]] for slate in slates[2:])
    assert by_old != by_new == again
    assert tables.counts == {}
