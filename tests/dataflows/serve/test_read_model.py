from pathlib import Path

import orjson
import pytest

from dataflows.serve.read_model import ItemEntry, ReadModel


def entry(item_id: str, title: str) -> ItemEntry:
    return ItemEntry(item_id, title, orjson.dumps({"item_id": item_id, "title": title}))


@pytest.fixture
def model(tmp_path: Path) -> ReadModel:
    return ReadModel(tmp_path / "newest.sqlite3")


def found(model: ReadModel, text: str) -> list[str]:
    return [orjson.loads(value)["item_id"] for value in model.search(text, 10)]


def test_the_newest_slate_of_a_user_is_the_one_written_last(model: ReadModel) -> None:
    model.put_slates([("u", b"one"), ("v", b"other"), ("u", b"two")])
    assert (model.slate("u"), model.slate("v"), model.slate("w")) == (b"two", b"other", None)


def test_a_tombstone_forgets_the_user(model: ReadModel) -> None:
    model.put_slates([("u", b"one"), ("u", None)])
    assert model.slate("u") is None


def test_a_model_that_is_opened_again_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = ReadModel(tmp_path / "newest.sqlite3")
    assert first.resume("recommendations", "id-1") == {}
    with first.changing():
        first.put_slates([("u", b"one")])
        first.note("recommendations", 3, 17)
    first.close()
    again = ReadModel(tmp_path / "newest.sqlite3")
    assert again.resume("recommendations", "id-1") == {3: 17}
    assert again.slate("u") == b"one"


def test_a_topic_that_was_made_again_is_read_from_its_beginning(model: ReadModel) -> None:
    model.resume("recommendations", "id-1")
    model.note("recommendations", 0, 17)
    assert model.resume("recommendations", "id-2") == {}


def test_what_fails_halfway_leaves_rows_and_offsets_as_they_were(model: ReadModel) -> None:
    with pytest.raises(RuntimeError), model.changing():  # noqa: PT012 - what fails is the end of a change
        model.put_slates([("u", b"one")])
        model.note("recommendations", 0, 1)
        raise RuntimeError
    assert model.slate("u") is None
    assert model.resume("recommendations", None) == {}


def test_titles_are_found_by_the_beginnings_of_their_words_without_accents(model: ReadModel) -> None:
    model.put_items([entry("a", "Amélie"), entry("b", "The Third Man"), entry("c", "Third Star")])
    assert found(model, "ame") == ["a"]
    assert sorted(found(model, "THIRD")) == ["b", "c"]
    assert found(model, "third ma") == ["b"]


@pytest.mark.parametrize("text", ['"', "NEAR(", "a OR", "*", "';--", "title:x"])
def test_no_text_is_taken_for_a_query_language(model: ReadModel, text: str) -> None:
    model.put_items([entry("a", "Amélie")])
    model.search(text, 10)


def test_an_item_that_changes_its_title_is_found_by_the_new_one_alone(model: ReadModel) -> None:
    model.put_items([entry("a", "Old")])
    model.put_items([entry("a", "New")])
    assert (found(model, "old"), found(model, "new")) == ([], ["a"])
    model.remove_items(["a", "unknown"])
    assert found(model, "new") == []
    assert model.counts() == {"slates": 0, "items": 0}
