"""Two histories of the same messages say the same; one event too few or too many shows."""

import numpy as np
import pytest

from dataflows.chaos.differences import results_differ, rows_differ
from models.items.wire import ContentRow, NeighboursRow, PackedRow, SessionRow, TrendingRow, WeighedItems
from models.messages import ExperimentResult, MetricResult, VariantResult
from models.numeric.ids import hash64

A, B = hash64("i-1"), hash64("i-2")


def neighbours(
    popularity: float = 40_000.0,
    rule: float = 3.0,
    neighbour: int = A,
    version: int = 7,
    at: int = 5,
    habit: int = A,
) -> NeighboursRow:
    weights = np.array([rule, 2.0], np.float32)
    others = WeighedItems(np.array([neighbour, B]), weights, weights)
    habits = WeighedItems(np.array([B, habit]), weights, weights)
    return NeighboursRow("i-0", version, at, 1, (popularity, 9.0), others, habits)


def trending(weight: float = 5.0, item: int = A) -> TrendingRow:
    return TrendingRow("all", 3, 7, 5, np.array([item, B]), np.array([weight, 1.0], np.float32))


def session(items: tuple[int, ...] = (A, B), last_at: int = 5) -> SessionRow:
    return SessionRow(4, 7, last_at, hash64("u-1"), items)


def content(first: int = 1) -> ContentRow:
    return ContentRow("i-0", 7, np.array([first, *range(63)], np.int8))


def table(*rows: PackedRow) -> dict[bytes, bytes]:
    return {row.key.encode(): row.pack() for row in rows}


USUAL = table(neighbours(), trending(), session(), content())


def test_the_same_tables_do_not_differ() -> None:
    assert rows_differ(USUAL, USUAL) == []


def test_a_version_counts_from_its_own_start_and_is_left_out() -> None:
    assert rows_differ(table(neighbours(version=7)), table(neighbours(version=8))) == []


def test_sums_may_be_added_up_in_another_order() -> None:
    assert rows_differ(table(neighbours(popularity=40_000.0)), table(neighbours(popularity=40_000.1))) == []


@pytest.mark.parametrize(
    "other",
    [
        neighbours(popularity=40_001.0),
        neighbours(rule=3.1),
        neighbours(neighbour=hash64("i-3")),
        neighbours(habit=hash64("i-3")),
        neighbours(at=6),
        trending(weight=5.5),
        trending(item=hash64("i-3")),
        session(items=(B, A)),
        session(items=(A,)),
        session(last_at=6),
        content(first=2),
    ],
)
def test_one_event_more_or_another_neighbour_shows(other: PackedRow) -> None:
    assert rows_differ(USUAL, USUAL | table(other)) == [other.key]


def test_a_row_that_one_of_them_lacks_differs() -> None:
    fewer = table(neighbours(), session(), content())
    assert rows_differ(USUAL, fewer) == ["trending/all/3"]
    assert rows_differ(fewer, USUAL) == ["trending/all/3"]


def a_result(
    users: int = 100, ctr: float = 0.1, updated_at: int = 5, latency_ms: float = 7.0
) -> dict[str, ExperimentResult]:
    metrics = [MetricResult("ctr", ctr, 0.01), MetricResult("latency_ms", latency_ms, 0.1)]
    variants = [VariantResult("one", users, 40, 0.5, metrics)]
    one = ExperimentResult(
        "chaos", "d", "ctr", "slate", updated_at, 0.05, 0.01, 1.0, "running", None, variants, history=[]
    )
    return {"chaos": one}


def test_the_same_results_do_not_differ_whenever_they_were_looked_at() -> None:
    assert results_differ(a_result(), a_result(updated_at=6)) == []


def test_how_long_slates_took_is_another_thing_in_files() -> None:
    assert results_differ(a_result(), a_result(latency_ms=900.0)) == []


def test_a_user_or_a_click_more_shows() -> None:
    assert results_differ(a_result(), a_result(users=101)) == ["chaos one users: 100, undisturbed 101"]
    assert results_differ(a_result(), a_result(ctr=0.1001)) == ["chaos one ctr: 0.1, undisturbed 0.1001"]


def test_an_experiment_without_results_differs() -> None:
    found = [name.partition(":")[0] for name in results_differ(a_result(), {})]
    assert found == ["chaos one coverage", "chaos one ctr", "chaos one users"]
