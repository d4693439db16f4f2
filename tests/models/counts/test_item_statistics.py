import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.counts import cells
from models.counts.item_statistics import ItemStatistics
from models.counts.pairs import add_up
from models.counts.publishing import N_PUBLISHED
from models.counts.transitions import Contribution
from models.items.wire import NeighboursRow, WeighedItems
from models.numeric.ids import hash64
from tests import places
from tests.models.counts.builders import DAY, NOW, SECOND, a_contribution, decayed, read_literally

HALF_LIVES = DAY, 14 * DAY
NARROW = 64
ITEMS = [f"i-{number}" for number in range(12)]


def learn(statistics: ItemStatistics, *contributions: Contribution) -> list[str]:
    [batch] = add_up(contributions, 1, HALF_LIVES[1], DAY)
    return statistics.learn(batch)


def learned(*contributions: Contribution) -> ItemStatistics:
    statistics = ItemStatistics(*HALF_LIVES)
    learn(statistics, *contributions)
    return statistics


def rows_of(statistics: ItemStatistics) -> dict[str, NeighboursRow]:
    return {row.item_id: row for row in statistics.take_changed(10**6)}


def by_item(weighed: WeighedItems) -> dict[int, tuple[float, float]]:
    weights = zip(weighed.rule_weights.tolist(), weighed.covisit_weights.tolist(), strict=True)
    return dict(zip(weighed.items.tolist(), weights, strict=True))


def neighbours_of(row: NeighboursRow) -> dict[int, tuple[float, float]]:
    return by_item(row.neighbours)


def comparable(statistics: ItemStatistics) -> dict[str, tuple[object, ...]]:
    return {
        row.item_id: (*row[1:5], *(part.tolist() for weighed in row[5:] for part in weighed))
        for row in statistics.take_changed(10**6)
    }


def test_a_view_a_day_ago_counts_half_at_a_half_life_of_a_day():
    statistics = learned(a_contribution("a", at=NOW, weight=1.0), a_contribution("a", at=NOW + DAY, weight=5.0))
    row = rows_of(statistics)["a"]
    assert row.reference_at == NOW + DAY
    assert row.popularity == pytest.approx((5.5, 5.0 + 2 ** (-1 / 14)))
    assert row.first_seen_at == NOW


def test_a_row_holds_what_comes_after_and_what_goes_along():
    statistics = learned(a_contribution("a"), a_contribution("b", "a"), a_contribution("c", "b", "a"))
    rows = rows_of(statistics)
    a, b, c = map(hash64, "abc")
    assert neighbours_of(rows["a"]) == {b: (1.0, 1.0), c: (0.5, 1.0)}
    assert rows["a"].neighbours.items.tolist() == [b, c]
    assert neighbours_of(rows["c"]) == {a: (0.0, 1.0), b: (0.0, 1.0)}


contributions = st.builds(
    lambda item, previous, days, weight: a_contribution(item, *previous, at=NOW + int(days * DAY), weight=weight),
    st.sampled_from(ITEMS),
    st.lists(st.sampled_from(ITEMS), max_size=10),
    st.floats(0, 100),
    st.sampled_from([0.5, 1.0, 5.0]),
)


@given(st.data(), st.lists(contributions, min_size=1, max_size=30))
def test_in_any_order_and_any_batches_the_rows_equal_a_literal_reading(
    data: st.DataObject, given_contributions: list[Contribution]
):
    every = [a_contribution(item, at=NOW) for item in ITEMS]
    expected = read_literally(every + given_contributions)
    shuffled = data.draw(st.permutations(given_contributions))
    size = data.draw(st.integers(1, 30))
    statistics = ItemStatistics(*HALF_LIVES)
    learn(statistics, *every)
    for start in range(0, len(shuffled), size):
        assert learn(statistics, *shuffled[start : start + size]) == []

    rows = rows_of(statistics)
    assert set(rows) == set(ITEMS)
    for item_id, row in rows.items():
        literal = expected[hash64(item_id)]
        assert (row.version, row.reference_at, row.first_seen_at) == (
            literal.n,
            literal.last_at,
            literal.first_seen_at,
        )
        assert row.popularity == pytest.approx(
            (
                decayed(literal.actions, literal.last_at, DAY),
                decayed(literal.actions, literal.last_at, 14 * DAY),
            ),
            rel=1e-4,
        )
        found = neighbours_of(row)
        assert set(found) == set(literal.covisits)
        for other, weights in literal.covisits.items():
            wanted = (
                decayed(literal.rules.get(other, []), literal.last_at, 14 * DAY),
                decayed(weights, literal.last_at, 14 * DAY),
            )
            assert found[other] == pytest.approx(wanted, rel=1e-4)


def test_the_version_says_how_often_something_was_added_however_it_came_in_batches():
    events = [a_contribution("a"), a_contribution("b", "a"), a_contribution("a", "b", "a")]
    at_once, one_by_one = learned(*events), ItemStatistics(*HALF_LIVES)
    for event in events:
        learn(one_by_one, event)
    assert [row.version for row in at_once.take_changed(9)] == [4, 3]
    assert [row.version for row in one_by_one.take_changed(9)] == [4, 3]


def test_versions_start_above_those_of_a_state_that_was_lost():
    lost = learned(*[a_contribution("a")] * 100)
    anew = ItemStatistics(*HALF_LIVES, first_version=1_000)
    learn(anew, a_contribution("a"))
    assert rows_of(anew)["a"].version > rows_of(lost)["a"].version


def test_only_changed_rows_are_taken_and_each_has_its_turn():
    statistics = learned(*(a_contribution(f"i-{number}") for number in range(5)))
    assert [row.item_id for row in statistics.take_changed(2)] == ["i-0", "i-1"]
    learn(statistics, a_contribution("i-0"))
    assert [row.item_id for row in statistics.take_changed(2)] == ["i-2", "i-3"]
    assert [row.item_id for row in statistics.take_changed(2)] == ["i-4", "i-0"]
    assert statistics.take_changed(2) == []
    assert statistics.n_dirty == 0


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give no item more than NARROW cells."""
    monkeypatch.setattr(cells, "MOST_ROOM", NARROW)


def test_thousands_of_neighbours_are_counted_each_by_itself():
    statistics = learned(a_contribution("hub"))
    times = {f"i-{number}": 1 + number % 9 for number in range(2_000)}
    for round_of in range(9):
        learn(statistics, *(a_contribution(item, "hub") for item, n in times.items() if n > round_of))
    best = rows_of(statistics)["hub"].neighbours
    assert len(best.items) == N_PUBLISHED
    assert best.covisit_weights.tolist() == sorted(times.values(), reverse=True)[:N_PUBLISHED]
    by_hash = {hash64(item): n for item, n in times.items()}
    assert [by_hash[item] for item in best.items.tolist()] == best.covisit_weights.tolist()


def test_what_comes_in_another_session_is_counted_apart():
    statistics = learned(a_contribution("a"), a_contribution("b", earlier=[("a", 0)]))
    learn(statistics, a_contribution("c", "b", earlier=[("a", DAY // SECOND)]))
    rows = rows_of(statistics)
    a, b, c = map(hash64, "abc")
    assert by_item(rows["a"].habits) == {b: (1.0, 1.0), c: (0.5, 0.5)}
    assert by_item(rows["b"].habits) == {a: (0.5, 1.0)}
    assert by_item(rows["c"].habits) == {a: (0.25, 0.5)}
    assert by_item(rows["b"].neighbours) == {c: (1.0, 1.0)}
    assert by_item(rows["a"].neighbours) == {}


@pytest.mark.usefixtures("narrow")
def test_a_full_item_keeps_the_neighbours_that_come_again():
    statistics = learned(a_contribution("hub"))
    for number in range(40 * NARROW):
        learn(statistics, a_contribution(f"once-{number}", "hub"), a_contribution("steady", "hub"))
    row = rows_of(statistics)["hub"]
    assert len(row.neighbours.items) == NARROW
    assert row.neighbours.items[0] == hash64("steady")
    assert row.neighbours.covisit_weights[0] == 40 * NARROW


@pytest.mark.usefixtures("narrow")
def test_a_newcomer_to_a_full_item_can_rise_to_the_top():
    statistics = learned(a_contribution("hub"))
    for number in range(NARROW):
        learn(statistics, *[a_contribution(f"old-{number}", "hub")] * 5)
    for number in range(200):
        learn(statistics, a_contribution(f"once-{number}", "hub"), a_contribution("new", "hub"))
    row = rows_of(statistics)["hub"]
    assert row.neighbours.items[0] == hash64("new")


@pytest.mark.usefixtures("narrow")
def test_no_neighbour_is_published_heavier_than_it_was_seen():
    statistics = learned(a_contribution("hub"))
    for number in range(3 * NARROW):
        learn(statistics, *[a_contribution(f"i-{number}", "hub")] * 2)
    row = rows_of(statistics)["hub"]
    assert row.neighbours.covisit_weights.max() == 2.0


def test_an_item_that_nobody_touches_is_forgotten_and_comes_back_above_its_old_version():
    statistics = learned(*[a_contribution("old", at=NOW)] * 3, a_contribution("loved", at=NOW, weight=2_000.0))
    before = rows_of(statistics)["old"].version
    assert learn(statistics, a_contribution("new", at=NOW + 200 * DAY)) == ["old"]
    assert statistics.ids == ["loved", "new"]
    learn(statistics, a_contribution("old", "loved", at=NOW + 200 * DAY))
    rows = rows_of(statistics)
    assert rows["old"].version > before
    assert neighbours_of(rows["loved"]) == {hash64("old"): (1.0, 1.0)}


def test_pairs_of_an_item_that_was_never_acted_on_are_void():
    statistics = learned(a_contribution("b", "never"))
    assert set(rows_of(statistics)) == {"b"}


def test_a_silence_of_years_neither_overflows_nor_leaves_anything_undefined():
    statistics = learned(a_contribution("a", at=NOW), a_contribution("b", "a", at=NOW))
    learn(statistics, a_contribution("c", at=NOW + 4_000 * DAY))
    learn(statistics, a_contribution("d", "c", at=NOW))
    for row in rows_of(statistics).values():
        assert np.isfinite([*row.popularity, *row.neighbours.rule_weights, *row.neighbours.covisit_weights]).all()


def test_many_items_grow_the_table():
    statistics = learned(*(a_contribution(f"i-{number}", f"i-{number - 1}") for number in range(1_000)))
    rows = rows_of(statistics)
    assert len(rows) == 1_000
    assert neighbours_of(rows["i-7"]).keys() == {hash64("i-6"), hash64("i-8")}


@given(st.lists(contributions, max_size=30), st.lists(contributions, min_size=1, max_size=30), st.integers(0, 12))
def test_a_packed_shard_goes_on_as_if_nothing_had_happened(
    before: list[Contribution], after: list[Contribution], taken: int
):
    whole = ItemStatistics(*HALF_LIVES, first_version=7)
    if before:
        learn(whole, *before)
    whole.take_changed(taken)
    resumed = ItemStatistics.unpack(whole.pack(), *HALF_LIVES)
    learn(whole, *after)
    learn(resumed, *after)
    assert comparable(resumed) == comparable(whole)


def test_what_waits_to_be_published_waits_on_after_a_resume():
    statistics = learned(a_contribution("a"), a_contribution("b"), a_contribution("c"))
    statistics.take_changed(1)
    resumed = ItemStatistics.unpack(statistics.pack(), *HALF_LIVES)
    assert [row.item_id for row in resumed.take_changed(9)] == ["b", "c"]


def test_a_changed_half_life_holds_for_what_comes():
    statistics = learned(a_contribution("a", at=NOW), a_contribution("a", at=NOW + DAY))
    longer = ItemStatistics.unpack(statistics.pack(), 2 * DAY, 28 * DAY)
    learn(longer, a_contribution("a", at=NOW + 3 * DAY))
    assert rows_of(longer)["a"].popularity[0] == pytest.approx(1.5 / 2 + 1)


def test_a_newer_format_is_refused():
    with pytest.raises(ValueError, match="format 3"):
        ItemStatistics.unpack(b"\x03" + ItemStatistics(*HALF_LIVES).pack()[1:], *HALF_LIVES)


@pytest.mark.parametrize(
    ("format_", "versions", "habits"), [(1, {"a": 3, "b": 3, "ß-3": 3}, []), (2, {"a": 4, "b": 3, "ß-3": 4}, ["ß-3"])]
)
def test_a_shard_packed_by_every_release_still_loads(format_: int, versions: dict[str, int], habits: list[str]):
    packed = (places.GOLDEN / f"item_statistics_v{format_}.bin").read_bytes()
    statistics = ItemStatistics.unpack(packed, *HALF_LIVES)
    rows = rows_of(statistics)
    assert {item_id: row.version for item_id, row in rows.items()} == versions
    assert rows["a"].habits.items.tolist() == [hash64(item) for item in habits]
    assert neighbours_of(rows["a"]) == {hash64("b"): (1.0, 1.0), hash64("ß-3"): (0.5, 1.0)}
    assert rows["b"].popularity == pytest.approx((5.0, 5.0))


def test_invented_items_beyond_the_bound_are_given_up_and_what_people_act_on_stays():
    statistics = ItemStatistics(*HALF_LIVES, max_items=16)
    learn(statistics, *(a_contribution("loved", weight=5.0), a_contribution("liked", weight=3.0)))
    forgotten = []
    for number in range(1_000):
        forgotten += learn(statistics, a_contribution(f"invented-{number}", at=NOW + number))
        assert statistics.n <= 16
    assert {"loved", "liked"} <= set(statistics.ids)
    assert len(forgotten) == 1_002 - statistics.n
    assert set(forgotten).isdisjoint(statistics.ids)


def test_an_item_that_was_given_up_and_comes_back_has_a_newer_version():
    statistics = ItemStatistics(*HALF_LIVES, max_items=1)
    learn(statistics, *(a_contribution("a") for _ in range(5)))
    [before] = statistics.take_changed(1)
    assert learn(statistics, a_contribution("b", weight=9.0)) == ["a"]
    assert learn(statistics, a_contribution("a", weight=99.0)) == ["b"]
    assert rows_of(statistics)["a"].version > before.version


def test_what_an_item_was_given_before_it_was_given_up_is_not_taken_from_those_who_came_since():
    statistics = ItemStatistics(*HALF_LIVES, max_items=1)
    gone = a_contribution("a", user="gone")
    learn(statistics, gone)
    assert learn(statistics, a_contribution("b", at=NOW + 1, weight=9.0)) == ["a"]
    assert learn(statistics, a_contribution("a", at=NOW + 2, weight=10.0, user="stays")) == ["b"]
    [withdrawn] = add_up([gone], 1, HALF_LIVES[1], DAY)
    assert statistics.withdraw(withdrawn) == []
    assert rows_of(statistics)["a"].popularity == pytest.approx((10.0, 10.0), rel=1e-4)


def test_a_shard_that_resumes_full_publishes_all_again_for_some_may_have_been_given_up_since():
    statistics = ItemStatistics(*HALF_LIVES, max_items=8)
    learn(statistics, *(a_contribution(f"i-{number}") for number in range(8)))
    statistics.take_changed(8)
    full, roomy = (ItemStatistics.unpack(statistics.pack(), *HALF_LIVES, most) for most in (8, 100))
    assert (full.n_dirty, roomy.n_dirty) == (8, 0)
