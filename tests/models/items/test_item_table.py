import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.items import ItemTable
from models.items.wire import ContentRow
from models.messages import Item
from models.numeric.ids import hash32, hash64
from tests.models.items.builders import DAY_MS, NOW, a_row, a_trend, apply, posted, row_of


def facts_of(table: ItemTable, item: str) -> tuple[list[int], float]:
    attributes, price = table.facts(hash64(item))
    return attributes.tolist(), price


def neighbours_of(table: ItemTable, item: str) -> dict[str, tuple[float, float]]:
    names = {hash64(name): name for name in "abcdefgh"}
    links = table.links.arrays
    run = links.of(row_of(table, item))
    weights = zip(links.rules[run].tolist(), links.covisits[run].tolist(), strict=True)
    return dict(zip((names[int(table.hashes[other])] for other in links.others[run]), weights, strict=True))


def neighbours_of_any(table: ItemTable, item: str) -> list[str]:
    """By name, or by the hash where nobody has named one: of these tests' items alone."""
    names = {hash64(name): name for name in ("kept", "friend")}
    links = table.links.arrays
    return [names[int(table.hashes[row])] for row in links.others[links.of(row_of(table, item))]]


def test_a_row_gives_an_item_its_neighbours_and_its_popularity():
    table = ItemTable(NOW)
    assert apply(table, "a", a_row("a", neighbours=("b", "c"), weight=0.5)) == 1
    assert neighbours_of(table, "a") == {"b": (0.5, 0.25), "c": (0.5, 0.25)}
    assert table.popularity[row_of(table, "a")].tolist() == [0.5, 1.0]
    assert table.learned_until == NOW


def test_an_older_or_repeated_version_changes_nothing():
    table = ItemTable(NOW)
    apply(table, "a", a_row("a", version=5, neighbours=("b",)))
    assert apply(table, "a", a_row("a", version=5, neighbours=("c",))) == 0
    assert apply(table, "a", a_row("a", version=4, neighbours=("c",))) == 0
    assert list(neighbours_of(table, "a")) == ["b"]


def test_after_a_tombstone_any_version_is_taken():
    table = ItemTable(NOW)
    apply(table, "a", a_row("a", version=5, neighbours=("b",)))
    apply(table, "a", None)
    assert neighbours_of(table, "a") == {}
    assert apply(table, "a", a_row("a", version=1, neighbours=("c",))) == 1


def test_weights_of_different_times_are_kept_in_units_of_one_landmark():
    table = ItemTable(NOW, half_life_long_ms=DAY_MS)
    apply(table, "a", a_row("a", neighbours=("b",), weight=1.0, at=NOW - DAY_MS))
    # A day is one half-life of the long popularity: what was 2 a day ago is 1 now.
    assert table.popularity[row_of(table, "a"), 1] == pytest.approx(1.0)
    assert neighbours_of(table, "a")["b"][0] == pytest.approx(0.5)


def test_a_neighbour_is_unnamed_until_its_own_row_or_its_catalog_entry_comes():
    table = ItemTable(NOW)
    apply(table, "a", a_row("a", neighbours=("b", "c")))
    assert not table.named[row_of(table, "b")]
    apply(table, "b", a_row("b"))
    table.apply_items([Item("c", title="A lantern")], [])
    assert table.named[[row_of(table, "b"), row_of(table, "c")]].all()
    assert table.ids[row_of(table, "b")] == "b"
    assert table.titles[row_of(table, "c")] == "A lantern"


def test_growing_keeps_every_row():
    table = ItemTable(NOW, capacity=1)
    names = [f"i-{number}" for number in range(100)]
    table.apply_rows(
        [f"neighbours/{name}".encode() for name in names], [a_row(name, neighbours=("a",)) for name in names]
    )
    assert [table.ids[row_of(table, name)] for name in names] == names
    links, a = table.links.arrays, row_of(table, "a")
    assert [links.others[links.of(row_of(table, name))].tolist() for name in names] == [[a]] * len(names)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.sampled_from(["d", "e", "f"])), max_size=12),
    st.integers(1, 5),
)
def test_rows_in_any_chunks_end_as_the_first_of_the_newest_versions(rows: list[tuple[str, int, str]], size: int):
    table = ItemTable(NOW, capacity=2)
    newest: dict[str, tuple[int, str]] = {}
    for item, version, other in rows:
        if version > newest.get(item, (0, ""))[0]:
            newest[item] = (version, other)
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        table.apply_rows(
            [f"neighbours/{item}".encode() for item, _, _ in chunk],
            [a_row(item, version, (other,)) for item, version, other in chunk],
        )
    assert {item: list(neighbours_of(table, item)) for item in newest} == {
        item: [other] for item, (_, other) in newest.items()
    }


def test_items_that_come_and_go_take_each_others_rows():
    table = ItemTable(NOW, capacity=64)
    apply(table, "kept", a_row("kept", neighbours=("friend",)))
    apply(table, "all/0", a_trend("all", {"trending": 1.0}), "trending")
    table.apply_items([Item("listed", title="A lantern", categories=["lights"])], [])
    for number in range(2_000):
        apply(table, f"i-{number}", a_row(f"i-{number}", neighbours=("kept", f"j-{number}")))
        apply(table, f"i-{number}", None)
    assert table.capacity == 64
    assert neighbours_of_any(table, "kept") == ["friend"]
    assert [table.ids[row] for row in table.trending(hash64("all"))[0]] == [table.ids[row_of(table, "trending")]]
    assert posted(table, "category=lights", table.postings.newest) == ["listed"]
    assert table.n_items < 64
    apply(table, "i-1", a_row("i-1", version=1, neighbours=("kept",)))
    assert neighbours_of_any(table, "i-1") == ["kept"]
    assert table.ids[row_of(table, "i-1")] == "i-1"


def test_a_removed_item_is_not_offered_again_because_its_row_was_taken():
    table = ItemTable(NOW, capacity=8)
    table.apply_items([], ["gone"])
    for number in range(100):
        apply(table, f"i-{number}", a_row(f"i-{number}"))
        apply(table, f"i-{number}", None)
    apply(table, "gone", a_row("gone"))
    assert not table.available[row_of(table, "gone")]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"), st.booleans()), max_size=60))
def test_a_table_that_takes_rows_back_says_what_one_with_room_for_all_says(changes: list[tuple[str, str, bool]]):
    tight, roomy = ItemTable(NOW, capacity=1), ItemTable(NOW, capacity=64)
    present = set()
    for version, (item, other, is_there) in enumerate(changes, start=1):
        for table in (tight, roomy):
            apply(table, item, a_row(item, version, (other,)) if is_there else None)
        (present.add if is_there else present.discard)(item)
        assert [neighbours_of(tight, name) for name in present] == [neighbours_of(roomy, name) for name in present]
        named = [sorted(filter(None, np.array(table.ids)[table.named[: table.n]])) for table in (tight, roomy)]
        assert set(named[0]) <= set(named[1])
        assert present <= set(named[0])


def test_trends_are_merged_over_the_shards_best_first():
    table = ItemTable(NOW)
    for shard, (item, weight) in enumerate([("a", 1.0), ("b", 3.0), ("c", 2.0)]):
        value = a_trend("all", {item: weight}, shard=shard)
        apply(table, f"all/{shard}", value, "trending")
    rows, weights = table.trending(hash64("all"))
    assert table.hashes[rows].tolist() == [hash64(name) for name in "bca"]
    assert weights.tolist() == [3.0, 2.0, 1.0]


def test_a_catalog_entry_that_changes_changes_the_facts_and_the_postings():
    table = ItemTable(NOW)
    table.apply_items([Item("a", categories=["Drama"], price=4.0)], [])
    assert facts_of(table, "a") == ([hash32("category=Drama"), hash32("price=2")], 4.0)
    table.apply_items([Item("a", categories=["Comedy"])], [])
    assert facts_of(table, "a") == ([hash32("category=Comedy")], 0.0)
    drama, comedy = table.postings.numbers_of(
        np.array([hash32("category=Drama"), hash32("category=Comedy")], np.uint32)
    )
    assert table.postings.n_items[[drama, comedy]].tolist() == [0, 1]
    assert row_of(table, "a") in table.postings.newest[comedy]
    assert row_of(table, "a") not in table.postings.newest[drama]


def test_a_removed_item_stays_known_but_is_not_available():
    table = ItemTable(NOW)
    table.apply_items([Item("a", categories=["Drama"])], [])
    table.apply_items([], ["a", "unknown"])
    assert not table.available[row_of(table, "a")]
    assert facts_of(table, "a") == ([], 0.0)


def test_the_popular_list_of_an_attribute_keeps_the_32_most_popular():
    table = ItemTable(NOW)
    names = [f"i-{number}" for number in range(40)]
    table.apply_items([Item(name, categories=["Drama"]) for name in names], [])
    for number, name in enumerate(names):
        apply(table, name, a_row(name, weight=float(number + 1)))
    posting = table.postings.numbers_of(np.array([hash32("category=Drama")], np.uint32))[0]
    posted = {table.ids[row] for row in table.postings.popular[posting]}
    assert posted == set(names[8:])


def test_a_content_row_sets_the_vector():
    table = ItemTable(NOW)
    vector = np.arange(64, dtype=np.int8)
    apply(table, "a", ContentRow("a", 1, vector).pack(), "content")
    assert table.vectors[row_of(table, "a")].tolist() == vector.tolist()


@pytest.mark.parametrize("value", [b"", b"short", bytes(64), a_row("a", neighbours=("b",))[:-8]])
def test_a_malformed_row_is_refused_by_its_key(value: bytes):
    with pytest.raises(ValueError, match="neighbours/a"):
        apply(ItemTable(NOW), "a", value)


def test_an_item_with_the_hash_of_another_is_refused_and_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    """Whoever finds such an id would write the other's row."""
    monkeypatch.setattr("models.items.table.hash64", lambda _text: 7)
    monkeypatch.setattr("models.items.table.hash_all", lambda texts: np.full(len(texts), 7))
    monkeypatch.setattr("models.items.catalog.hash_all", lambda texts: np.full(len(texts), 7))
    table = ItemTable(NOW)
    assert table.apply_items([Item("honest", "A lamp"), Item("twin", "A trap")], []) == 1
    assert table.apply_items([Item("twin", "A trap")], ["twin"]) == 2
    assert (table.n, table.ids, table.titles) == (1, ["honest"], ["A lamp"])
    assert table.available[0]


def test_rows_of_items_with_the_hash_of_another_are_refused(monkeypatch: pytest.MonkeyPatch):
    for module in ("wire", "row_keys"):
        monkeypatch.setattr(f"models.items.{module}.hash64", lambda _text: 7)
    table = ItemTable(NOW)
    apply(table, "honest", a_row("honest"))
    for value in (a_row("twin", version=9), None):
        with pytest.raises(ValueError, match="hash of another"):
            apply(table, "twin", value)
    with pytest.raises(ValueError, match="hash of another"):
        ItemTable(NOW).apply_rows([b"neighbours/a", b"neighbours/b"], [a_row("a"), a_row("b")])
    assert table.ids == ["honest"]
