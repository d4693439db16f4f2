import numpy as np
import pytest

from models.candidates.selection import usable
from models.items import ItemTable
from models.items.catalog import attributes_of
from models.items.vectors import content_vector, text_vector
from models.messages import Item
from models.numeric.ids import hash64
from tests.models.items.builders import NOW, a_row, apply, row_of


def shown(table: ItemTable) -> list[str]:
    return sorted(table.ids[row] for row in np.flatnonzero(usable(table)))


def test_without_a_catalog_every_item_with_a_name_may_be_shown():
    table = ItemTable(NOW)
    apply(table, "a", a_row("a", neighbours=("b",)))
    assert shown(table) == ["a"]


def test_a_removal_that_comes_before_the_items_first_row_is_not_forgotten():
    table = ItemTable(NOW)
    table.apply_items([], ["a"])
    apply(table, "a", a_row("a"))
    apply(table, "b", a_row("b"))
    assert shown(table) == ["b"]


def test_with_a_catalog_an_item_whose_removal_was_compacted_away_is_not_shown():
    table = ItemTable(NOW)
    apply(table, "gone", a_row("gone"))
    apply(table, "a", a_row("a"))
    table.apply_items([Item("a")], [])
    assert shown(table) == ["a"]


def test_when_the_catalog_has_lost_its_last_item_nothing_is_shown():
    table = ItemTable(NOW)
    apply(table, "gone", a_row("gone"))
    table.apply_items([Item("a")], [])
    table.apply_items([], ["a"])
    assert shown(table) == []


def test_an_item_that_returns_to_the_catalog_is_shown_again():
    table = ItemTable(NOW)
    table.apply_items([], ["a"])
    table.apply_items([Item("a")], [])
    assert shown(table) == ["a"]


def test_an_emptied_row_of_an_unknown_item_gives_it_no_name():
    table = ItemTable(NOW)
    apply(table, "b", a_row("b", neighbours=("a",)))
    assert apply(table, "unknown", None) == 0
    apply(table, "a", None)
    assert table.ids == ["b", ""] if row_of(table, "b") == 0 else ["", "b"]
    assert shown(table) == ["b"]


def test_of_two_entries_of_an_item_in_one_call_the_last_counts():
    table = ItemTable(NOW)
    table.apply_items([Item("a", title="old", categories=["Drama"]), Item("a", title="new")], [])
    assert table.titles[row_of(table, "a")] == "new"
    assert not table.attributes.any()


@pytest.mark.parametrize("price", [1e39, 1e300, float("inf")])
def test_a_price_beyond_single_precision_is_the_largest_one(price: float):
    table = ItemTable(NOW)
    item = Item("a", price=price)
    table.apply_items([item], [])
    assert table.price[row_of(table, "a")] == np.finfo(np.float32).max
    assert table.facts(hash64("a"))[1] == np.finfo(np.float32).max
    assert attributes_of(item) == ["price=127"]
    assert content_vector(item).any()


def test_attributes_that_are_short_texts_stand_between_tags_and_price():
    item = Item(
        "a",
        title="A fountain pen",
        categories=["Pens"],
        tags=["ink"],
        price=20.0,
        attributes={"brand": "Lamy", "story": "x" * 65, "weight": 17, "refillable": True, "nib": None, "colour": ""},
    )
    assert attributes_of(item) == ["category=Pens", "tag=ink", "brand=Lamy", "price=4", "word=fountain"]


def test_a_search_for_a_brand_finds_what_bears_it():
    plain, branded = Item("a", title="pen"), Item("b", title="pen", attributes={"brand": "Lamy"})
    asked = text_vector("lamy").astype(np.int32)
    assert asked @ content_vector(branded) > asked @ content_vector(plain)


def test_a_telling_word_is_found_in_a_sentence_that_tells_nothing_else():
    asked = "I cannot get in any more, whatever I try, please help me with the password"
    items = [content_vector(Item(title, title=title)).astype(np.int32) for title in ("Password", "Parcel", "Refund")]
    plain, told = (
        text_vector(asked, is_telling).astype(np.int32) for is_telling in (lambda _: False, "password".__eq__)
    )
    cosines = [[int(text @ item) / 127**2 for item in items] for text in (plain, told)]
    assert cosines[1][0] == max(cosines[1]) > cosines[0][0]
    assert cosines[1][0] > 0.5
