from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.items import ItemTable
from models.messages import Item
from models.numeric.ids import hash32, hash64
from tests.models.items.builders import NOW, a_row, apply, posted, row_of

DRAMA = "category=Drama"
NAMES = [f"i-{n}" for n in range(40)]


def an_entry(name: str, **changes: Any) -> Item:
    return Item(name, **({"categories": ["Drama"], "created_at": 1_000 + int(name[2:])} | changes))


def a_shop(n: int = 40) -> ItemTable:
    """Sell the first n of the names; each is newer and more popular than the one before it."""
    table = ItemTable(NOW)
    table.apply_items([an_entry(name) for name in NAMES[:n]], [])
    for number, name in enumerate(NAMES[:n]):
        apply(table, name, a_row(name, weight=number + 1.0))
    return table


def newest(table: ItemTable, attribute: str = DRAMA) -> list[str]:
    return posted(table, attribute, table.postings.newest)


def popular(table: ItemTable, attribute: str = DRAMA) -> list[str]:
    return posted(table, attribute, table.postings.popular)


def n_posted(table: ItemTable, attribute: str = DRAMA) -> int:
    return int(table.postings.n_items[table.postings.numbers_of(np.array([hash32(attribute)], np.uint32))[0]])


def test_of_more_items_than_a_list_holds_the_newest_and_the_most_popular_stay():
    table = a_shop()
    assert newest(table) == popular(table) == NAMES[:7:-1]
    assert n_posted(table) == 40


def test_ties_are_broken_by_the_items_hash():
    table = ItemTable(NOW)
    table.apply_items([an_entry(name, created_at=7) for name in NAMES], [])
    assert newest(table) == popular(table) == sorted(NAMES, key=hash64)[:32]


LOSSES: dict[str, Callable[[ItemTable], object]] = {
    "is removed": lambda table: table.apply_items([], ["i-39"]),
    "becomes unavailable": lambda table: table.apply_items([an_entry("i-39", available=False)], []),
    "changes its category": lambda table: table.apply_items([an_entry("i-39", categories=["Comedy"])], []),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES.keys())
def test_when_an_item_leaves_a_full_list_the_next_one_takes_its_place(lose: Callable[[ItemTable], object]):
    table = a_shop()
    lose(table)
    assert newest(table) == popular(table) == NAMES[38:6:-1]
    assert n_posted(table) == 39


def test_when_an_item_leaves_a_list_that_holds_all_the_others_stay():
    table = a_shop(4)
    table.apply_items([], ["i-1"])
    assert newest(table) == popular(table) == ["i-3", "i-2", "i-0"]


def test_an_unavailable_item_is_posted_once_it_is_available():
    table = ItemTable(NOW)
    table.apply_items([an_entry("i-0", available=False)], [])
    assert newest(table) == popular(table) == []
    table.apply_items([an_entry("i-0")], [])
    assert newest(table) == popular(table) == ["i-0"]


def test_an_item_that_rises_is_posted_once():
    table = a_shop(4)
    apply(table, "i-0", a_row("i-0", version=2, weight=9.0))
    assert popular(table) == ["i-0", "i-3", "i-2", "i-1"]


def test_an_item_whose_row_is_emptied_gives_way_to_a_more_popular_one():
    table = a_shop()
    apply(table, "i-39", None)
    assert popular(table) == NAMES[38:6:-1]


def test_an_undated_item_is_as_new_as_the_first_time_that_it_was_seen():
    table = a_shop()
    table.apply_items([an_entry("i-99", created_at=0)], [])
    assert "i-99" not in newest(table)
    apply(table, "i-99", a_row("i-99", first_seen_at=NOW))
    assert newest(table) == ["i-99", *NAMES[39:8:-1]]


def test_items_that_rise_in_one_call_are_ordered_among_themselves():
    table = a_shop()
    table.apply_rows(
        [b"neighbours/i-0", b"neighbours/i-39", b"neighbours/i-1", b"neighbours/i-1"],
        [
            a_row("i-0", version=2, weight=50.0),
            a_row("i-39", version=2, weight=60.0),
            a_row("i-1", version=2, weight=55.0),
            a_row("i-1", version=3, weight=70.0),
        ],
    )
    assert popular(table) == ["i-1", "i-39", "i-0", *NAMES[38:9:-1]]


numbers = st.integers(0, 39)
CHANGES = st.one_of(
    st.tuples(st.just("removed"), numbers),
    st.tuples(st.just("emptied"), numbers),
    st.tuples(st.just("learned"), numbers, st.integers(1, 60), st.integers(1, 2_000)),
    st.tuples(st.just("entered"), numbers, st.integers(0, 2_000), st.booleans(), st.sampled_from("DC")),
)


def carry_out(table: ItemTable, version: int, change: tuple[Any, ...]) -> None:
    name = NAMES[change[1]]
    if change[0] == "removed":
        table.apply_items([], [name])
    elif change[0] == "emptied":
        apply(table, name, None)
    elif change[0] == "learned":
        apply(table, name, a_row(name, version, weight=float(change[2]), first_seen_at=change[3]))
    else:
        _, _, created_at, available, kind = change
        categories = ["Drama"] if kind == "D" else ["Comedy"]
        table.apply_items([an_entry(name, created_at=created_at, available=available, categories=categories)], [])


def expected(table: ItemTable, attribute: str, rank: Callable[[int], float]) -> list[str]:
    """Sort all available items that carry the attribute."""
    rows = [row for row in range(table.n) if table.available[row] and hash32(attribute) in table.attributes[row]]
    best = sorted(rows, key=lambda row: (-rank(row), table.hashes[row]))
    return [table.ids[row] for row in best]


@settings(max_examples=60, deadline=None)
@given(st.lists(CHANGES, max_size=30))
def test_after_any_changes_the_lists_are_those_of_a_sort_over_all_items(changes: list[tuple[Any, ...]]):
    table = a_shop()
    for version, change in enumerate(changes, 2):
        carry_out(table, version, change)
        for attribute in (DRAMA, "category=Comedy"):
            by_date = expected(table, attribute, lambda row: table.created_at[row])
            if table.postings.numbers_of(np.array([hash32(attribute)], np.uint32))[0] < 0:
                assert by_date == []
                continue
            assert newest(table, attribute) == by_date[:32]
            assert popular(table, attribute) == expected(table, attribute, lambda row: table.popularity[row, 1])[:32]
            assert n_posted(table, attribute) == len(by_date)


def test_an_item_without_attributes_is_in_no_list():
    table = ItemTable(NOW)
    table.apply_items([Item("i-0")], [])
    assert row_of(table, "i-0") == 0
    assert not (table.postings.newest >= 0).any()


def test_what_no_item_carries_any_more_takes_no_memory_however_often_the_catalog_changes():
    """A stock note of each item, rewritten every hour, kept half a KB a text for good."""
    table, n = a_shop(), 0
    lists, popularity = newest(table), popular(table)
    for hour in range(200):
        items = [an_entry(name, attributes={"stock": f"{name} at {hour}"}) for name in NAMES]
        table.apply_items(items, [])
        n = max(n, len(table.postings.n_items))
        assert (newest(table), popular(table), n_posted(table)) == (lists, popularity, 40)
        assert newest(table, f"stock=i-7 at {hour}") == ["i-7"]
    assert n <= 256  # of 8,001 that there have been
    assert len(table._names) <= 2_048
