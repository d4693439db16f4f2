"""The sentence encoder of the extra `text`, where that is installed and EDDY_TEST_TEXT_MODEL names the model."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.errors import EddyError
from dataflows.run import resources
from dataflows.run.settings import LearnSettings, Settings
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items.vectors import HASHED
from models.messages import Item
from models.rankers.checkpoint import SHIPPED
from models.serving.recommender import Recommender
from models.strategy import Strategy
from models.user.query import Query

MINILM = LearnSettings(text="minilm")
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
    resources._sentence_space.cache_clear()
    yield
    resources._sentence_space.cache_clear()


def test_a_sequence_model_that_is_none_is_named_by_its_setting(tmp_path: Path):
    assert resources.sequence_encoder(Settings()) is None
    with pytest.raises(EddyError, match=r"EDDY_SEQUENCE_MODEL: .*no sequence model"):
        resources.sequence_encoder(Settings(sequence_model=SHIPPED))
    with pytest.raises(EddyError, match=r"EDDY_SEQUENCE_MODEL: .*No such file"):
        resources.sequence_encoder(Settings(sequence_model=tmp_path / "nowhere"))


def test_words_are_hashed_unless_asked_otherwise():
    assert resources.text_space(Settings().learn) is HASHED


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "find_spec", lambda _name: None)
    with pytest.raises(EddyError, match=r"eddy-recs\[text\]"):
        resources.text_space(MINILM)


@pytest.mark.parametrize("folder", [None, Path("nowhere")])
def test_without_the_model_the_error_says_where_to_name_it(monkeypatch: pytest.MonkeyPatch, folder: Path | None):
    monkeypatch.setattr(resources, "find_spec", lambda name: name)
    with pytest.raises(EddyError, match="EDDY_LEARN__TEXT_MODEL"):
        resources.text_space(LearnSettings(text="minilm", text_model=folder))


def test_a_title_near_in_meaning_is_recommended_with_no_clicks_and_no_word_in_common():
    folder = os.environ.get("EDDY_TEST_TEXT_MODEL")
    if folder is None or resources.find_spec("sentence_transformers") is None:
        pytest.skip("EDDY_TEST_TEXT_MODEL names no model, or the extra `text` is not installed")
    items = [Item(f"i-{n}", title=title) for n, title in enumerate(TITLES)]
    texts = resources.text_space(LearnSettings(text="minilm", text_model=Path(folder)))
    table = ItemSide(items, NOW, ItemSideConfig(), EventConfig(), ProfileConfig(), texts).table
    strategy = Strategy(exploration_slots=0, diversity=0)
    query = Query("u", "request", "r", NOW, strategy, query="sofa for the living room", n_items=3)
    [slate] = Recommender(table).recommend([query])
    assert (slate.items[0].item_id, slate.items[0].reason) == ("i-0", "matches your search")
