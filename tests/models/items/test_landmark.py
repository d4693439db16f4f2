import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.items import ItemTable
from models.items.wire import ContentRow, SessionRow
from models.messages import Item
from models.numeric.ids import hash64
from models.query.batch import landmark_scale
from tests.models.items.builders import DAY_MS, NOW, a_row, a_trend, apply, posted, row_of

LONG_MS = 4 * DAY_MS


def a_table(landmark_at: int = NOW) -> ItemTable:
    return ItemTable(landmark_at, half_life_short_ms=DAY_MS, half_life_long_ms=LONG_MS)


def at_the_moment(table: ItemTable, item: str, now: int) -> tuple[float, float, float]:
    """Read an item's popularities and the weight of its first rule as they are at a moment."""
    moment = np.array([now])
    short, long = (float(landmark_scale(moment, table.landmark_at, half)[0]) for half in (DAY_MS, LONG_MS))
    row = row_of(table, item)
    popularity, links = table.popularity[row], table.links.arrays
    return popularity[0] / short, popularity[1] / long, links.rules[links.starts[row]] / long


def test_weights_of_years_of_short_half_lives_neither_overflow_nor_vanish():
    table = a_table()
    for day in range(0, 1_000, 10):
        apply(table, "a", a_row("a", 1 + day, ("b",), at=NOW + day * DAY_MS))
        assert at_the_moment(table, "a", NOW + day * DAY_MS) == pytest.approx((1.0, 2.0, 1.0))


def test_what_was_learned_before_the_landmark_moved_decays_as_if_it_had_stayed():
    table = a_table()
    apply(table, "a", a_row("a", neighbours=("b",)))
    now = NOW + 40 * DAY_MS
    apply(table, "c", a_row("c", at=now))
    assert table.landmark_at > NOW
    assert at_the_moment(table, "a", now) == pytest.approx((2.0**-40, 2.0 * 2.0**-10, 2.0**-10))
    row = row_of(table, "a")
    links = table.links.arrays
    assert links.rule_totals[row] == pytest.approx(links.rules[links.of(row)].sum())


def test_what_has_decayed_beyond_single_precision_is_nothing():
    table = a_table()
    apply(table, "a", a_row("a", neighbours=("b",)))
    apply(table, "c", a_row("c", at=NOW + 1_000 * DAY_MS))
    assert at_the_moment(table, "a", NOW + 1_000 * DAY_MS)[0] == 0.0
    assert np.isfinite(table.popularity).all()
    assert np.isfinite(table.links.arrays.rules).all()


def test_a_past_that_is_replayed_years_later_keeps_its_weights():
    table = a_table(NOW + 3_000 * DAY_MS)
    apply(table, "a", a_row("a", neighbours=("b",), at=NOW))
    assert at_the_moment(table, "a", NOW) == pytest.approx((1.0, 2.0, 1.0))


def test_rows_of_items_without_behaviour_leave_the_landmark_where_it_is():
    table = a_table()
    table.apply_items([Item("a")], [])
    apply(table, "b", None)
    assert table.landmark_at == NOW


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-400, 400)), min_size=1, max_size=12))
def test_in_any_order_of_times_a_weight_is_what_it_would_be_without_a_landmark(rows: list[tuple[str, int]]):
    table = a_table()
    last = {}
    for version, (item, day) in enumerate(rows, 1):
        apply(table, item, a_row(item, version, ("z",), at=NOW + day * DAY_MS))
        last[item] = day
    newest = max(day for _, day in rows)
    for item, day in last.items():
        short, long, rule = at_the_moment(table, item, NOW + newest * DAY_MS)
        assert short == pytest.approx(2.0 ** (day - newest), rel=1e-5, abs=2.0**-80)
        assert (long, rule) == pytest.approx((2 * 2.0 ** ((day - newest) / 4), 2.0 ** ((day - newest) / 4)), rel=1e-5)


def test_shards_of_different_times_are_compared_at_the_newest():
    table = a_table()
    apply(table, "all/0", a_trend("all", {"a": 8.0}, at=NOW), "trending")
    apply(table, "all/1", a_trend("all", {"b": 3.0}, shard=1, at=NOW + 2 * DAY_MS), "trending")
    apply(table, "c", a_row("c", at=NOW + 300 * DAY_MS))
    rows, weights = table.trending(hash64("all"))
    assert table.hashes[rows].tolist() == [hash64("b"), hash64("a")]
    assert weights.tolist() == [3.0, 2.0]


def test_items_that_decayed_to_nothing_stand_in_the_popular_list_in_the_order_of_a_fresh_table():
    table, names = a_table(), [f"i-{n}" for n in range(40)]
    table.apply_items([Item(name, categories=["Drama"]) for name in names], [])
    for n, name in enumerate(names):
        apply(table, name, a_row(name, weight=1.0 + n))
    apply(table, "new", a_row("new", at=NOW + 1_000 * DAY_MS))
    assert posted(table, "category=Drama", table.postings.popular) == sorted(names, key=hash64)[:32]


HOSTILE = 2**53 - 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"neighbours/x", a_row("x", at=HOSTILE)),
        (b"neighbours/x", a_row("x", first_seen_at=HOSTILE)),
        (b"neighbours/x", a_row("x", version=2**62)),
        (b"trending/all/0", a_trend("all", {"x": 1.0}, at=HOSTILE)),
        (b"trending/all/0", a_trend("all", {"x": 1.0}, version=2**62)),
        (b"content/x", ContentRow("x", 2**62, np.ones(64, np.int8)).pack()),
        (b"sessions/3", SessionRow(3, 1, HOSTILE, 3, (1, 2)).pack()),
        (b"sessions/3", SessionRow(3, 32 * (NOW + 1) + 5, NOW, 3, (1, 2)).pack()),
    ],
)
def test_a_row_ahead_of_the_clock_is_refused_and_changes_nothing(key: bytes, value: bytes):
    """One of them took every honest popularity to nothing, for good: a compacted topic keeps it."""
    table = a_table()
    apply(table, "a", a_row("a", neighbours=("b",)))
    with pytest.raises(ValueError, match=key.decode()):
        table.apply_rows([key], [value], NOW)
    assert table.landmark_at == NOW
    assert at_the_moment(table, "a", NOW) == pytest.approx((1.0, 2.0, 1.0))


def test_a_row_of_this_very_moment_is_taken():
    table = a_table()
    rows = [a_row("a", at=NOW, version=NOW << 20), SessionRow(3, 32 * NOW + 2, NOW, 3, (1, 2)).pack()]
    assert table.apply_rows([b"neighbours/a", b"sessions/3"], list(rows), NOW) == 2
