"""The sentence encoder of the extra `text`, where it is installed."""

import sys
from collections.abc import Iterator

import pytest

from dataflows.errors import EddyError
from dataflows.run import resources
from dataflows.run.settings import Settings
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items.vectors import HASHED
from models.messages import Item
from models.serving.recommender import Recommender
from models.strategy import Strategy
from models.user.query import Query

NOW = 1_700_000_000_000
TITLES = [
    "Three-seat couch",
    "Cast iron frying pan",
    "Trail running shoes",
    "Garden hose",
    "Guitar strings",
    "Notebook",
]


@pytest.fixture(autouse=True)
def loaded_again() -> Iterator[None]:
    resources._minilm.cache_clear()
    yield
    resources._minilm.cache_clear()


def test_words_are_hashed_unless_asked_otherwise():
    assert resources.text_space(Settings().learn.text) is HASHED


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "all_minilm_l6_v2", None)
    monkeypatch.setattr(resources, "find_spec", lambda _name: None)
    with pytest.raises(EddyError, match=r"eddy-recs\[text\]"):
        resources.text_space("minilm")


def test_a_title_near_in_meaning_is_recommended_with_no_clicks_and_no_word_in_common():
    if resources.find_spec("all_minilm_l6_v2") is None or resources.find_spec("sentence_transformers") is None:
        pytest.skip("the extra `text` is not installed")
    items = [Item(f"i-{n}", title=title) for n, title in enumerate(TITLES)]
    texts = resources.text_space("minilm")
    table = ItemSide(items, NOW, ItemSideConfig(), EventConfig(), ProfileConfig(), texts).table
    strategy = Strategy(exploration_slots=0, diversity=0)
    query = Query("u", "request", "r", NOW, strategy, query="sofa for the living room", n_items=3)
    [slate] = Recommender(table).recommend([query])
    assert (slate.items[0].item_id, slate.items[0].reason) == ("i-0", "matches your search")
