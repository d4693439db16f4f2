import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.counts.impressions import Impressions, ItemShown
from models.items.wire import VERSIONS_A_MS

MOMENT = 1_700_000_000_000


def shown(*item_ids: str) -> list[ItemShown]:
    return [ItemShown(item_id, MOMENT + n) for n, item_id in enumerate(item_ids)]


def test_an_item_graduates_by_the_impression_that_makes_it_enough_and_only_once():
    impressions = Impressions(3)
    assert impressions.count(shown("a", "b", "a")) == ([], [])
    [row], _ = impressions.count(shown("a", "a", "b"))
    assert (row.item_id, row.shown_at, row.version) == ("a", MOMENT, MOMENT << VERSIONS_A_MS)
    assert [row.item_id for row in impressions.count(shown("a", "b", "b"))[0]] == ["b"]


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 7))
def test_how_impressions_fall_into_batches_and_restarts_does_not_matter(item_ids: list[str], size: int):
    at_once = Impressions(3).count(shown(*item_ids))[0]
    impressions, bit_by_bit = Impressions(3), []
    every = shown(*item_ids)
    for first in range(0, len(every), size):
        bit_by_bit += impressions.count(every[first : first + size])[0]
        impressions = Impressions.unpack(impressions.pack(), 3)
    assert bit_by_bit == at_once


def test_whoever_shows_ever_new_items_fills_no_memory_and_what_is_forgotten_is_taken_off_the_topic():
    impressions = Impressions(2, max_items=2)
    impressions.count(shown("a", "a", "b"))
    assert impressions.count(shown("a", "c")) == ([], [])  # b, which had not graduated, was shown longest ago
    assert impressions.count(shown("d")) == ([], ["a"])
    assert impressions.n == 2


def test_items_that_have_had_enough_by_a_lower_bound_graduate_when_they_are_shown_next():
    impressions = Impressions(5)
    impressions.count(shown("a", "a", "a"))
    lowered = Impressions.unpack(impressions.pack(), 2)
    assert [row.item_id for row in lowered.count(shown("a"))[0]] == ["a"]


def test_counts_of_a_later_release_are_refused():
    with pytest.raises(ValueError, match="format 9"):
        Impressions.unpack(b"\x09" + Impressions(1).pack()[1:], 1)
