"""What the door asks of whatever keeps its slates: one contract, over SQLite, Redis and PostgreSQL."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from dataflows.serve.read_models.choice import served_model
from dataflows.serve.read_models.contract import ReadModel, TopicPart, TopicRow, WentBackError, words_of
from dataflows.serve.read_models.sqlite import SqliteModel
from models.numeric.ids import hash64
from tests.dataflows.serve.kept import found, ids_of, keep_items, keep_slates
from tests.dataflows.serve.servers import SERVERS, StoreServer, running_server

Opener = Callable[[], ReadModel]
SLATES = "recommendations"
installations = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
def server(request: pytest.FixtureRequest) -> Iterator[StoreServer | None]:
    if request.param == "sqlite":
        yield None
        return
    with running_server(request.param) as running:
        yield running


@pytest.fixture
def opener(server: StoreServer | None, tmp_path: Path) -> Iterator[Opener]:
    """Open the store of this test, as often as it likes."""
    prefix = f"shop-{next(installations)}-"
    with ExitStack() as stack:

        def opened() -> ReadModel:
            file = tmp_path / "newest.sqlite3"
            model: ReadModel = SqliteModel(file) if server is None else served_model(server.url, prefix)
            stack.callback(model.close)
            model.prepare()
            return model

        yield opened


@pytest.fixture
def model(opener: Opener) -> ReadModel:
    return opener()


def a_part(rows: list[TopicRow], partition: int = 0) -> TopicPart:
    return TopicPart("slates", SLATES, partition, rows, rows[-1].offset + 1)


def test_the_newest_slate_of_a_user_is_the_one_written_last(model: ReadModel) -> None:
    keep_slates(model, ("u", b"one"), ("v", b"other"), ("u", b"two"))
    assert (model.slate("u"), model.slate("v"), model.slate("w")) == (b"two", b"other", None)


def test_a_tombstone_forgets_the_user(model: ReadModel) -> None:
    keep_slates(model, ("u", b"one"), ("v", b"other"))
    keep_slates(model, ("u", b"two"), ("u", None))
    assert (model.slate("u"), model.slate("v")) == (None, b"other")
    assert model.counts() == {"slates": 1, "items": 0}


def test_a_user_who_comes_back_after_a_tombstone_has_a_slate(model: ReadModel) -> None:
    keep_slates(model, ("u", b"one"), ("u", None), ("u", b"two"))
    assert model.slate("u") == b"two"


@pytest.mark.parametrize("user", ["a/b ü", "\0", "', --", "u" * 256, "%s", "x\ny"])
def test_any_id_is_a_users(model: ReadModel, user: str) -> None:
    keep_slates(model, (user, b"\0 any bytes \xff"))
    assert model.slate(user) == b"\0 any bytes \xff"


def test_a_model_that_is_opened_again_goes_on_where_it_stopped(opener: Opener) -> None:
    first = opener()
    assert first.resume("slates", SLATES, "id-1") == {}
    first.keep([a_part([TopicRow(16, "u", b"one")], 3), a_part([TopicRow(4, "v", b"two")], 1)])
    first.close()
    again = opener()
    assert again.resume("slates", SLATES, "id-1") == {3: 17, 1: 5}
    assert again.slate("u") == b"one"


def test_a_topic_that_was_made_again_is_read_from_its_beginning_and_what_it_no_longer_says_goes(
    model: ReadModel,
) -> None:
    model.resume("slates", SLATES, "id-1")
    keep_items(model, ("i", "An item"))
    model.keep([a_part([TopicRow(16, "u", b"one")])])
    assert model.resume("slates", SLATES, "id-2") == {}
    assert (model.slate("u"), found(model, "item")) == (None, ["i"])
    model.keep([a_part([TopicRow(0, "u", b"two")])])
    assert model.slate("u") == b"two"


def test_a_topic_that_nobody_can_tell_from_another_is_taken_for_the_same(model: ReadModel) -> None:
    model.resume("slates", SLATES, "id-1")
    model.keep([a_part([TopicRow(16, "u", b"one")])])
    assert model.resume("slates", SLATES, None) == {0: 17}
    assert model.resume("slates", SLATES, "id-1") == {0: 17}


def test_what_fails_halfway_leaves_rows_and_offsets_as_they_were(model: ReadModel) -> None:
    unreadable: Any = object()
    wrong = TopicPart("items", "catalog", 1, [TopicRow(5, "i", unreadable, "a title")], 6)
    with pytest.raises(Exception, match=r".+"):
        model.keep([a_part([TopicRow(0, "u", b"one")]), wrong])
    assert model.slate("u") is None
    assert model.resume("slates", SLATES, None) == {}


def test_a_door_that_lags_puts_no_older_slate_in_place_of_a_newer_one(opener: Opener) -> None:
    ahead, behind = opener(), opener()
    ahead.keep([a_part([TopicRow(0, "u", b"one"), TopicRow(7, "u", b"two"), TopicRow(8, "w", None)])])
    behind.keep([a_part([TopicRow(0, "u", b"one"), TopicRow(1, "w", b"gone")])])
    assert (ahead.slate("u"), behind.slate("u"), behind.slate("w")) == (b"two", b"two", None)
    assert behind.resume("slates", SLATES, None) == {0: 9}
    behind.keep([a_part([TopicRow(7, "u", b"two"), TopicRow(9, "u", b"three")])])
    assert ahead.slate("u") == b"three"


def test_a_record_that_is_read_again_changes_nothing(model: ReadModel) -> None:
    part = a_part([TopicRow(0, "u", b"one"), TopicRow(1, "u", b"two")])
    model.keep([part])
    model.keep([part])
    assert model.slate("u") == b"two"


def test_a_store_that_has_lost_what_it_had_is_found_out(opener: Opener) -> None:
    model, other = opener(), opener()
    model.keep([a_part([TopicRow(4, "u", b"one")])])
    other.rewind(SLATES, 0, 2)
    with pytest.raises(WentBackError):
        model.keep([a_part([TopicRow(5, "u", b"two")])])
    with pytest.raises(WentBackError):
        model.keep([])
    assert model.resume("slates", SLATES, None) == {0: 2}
    model.keep([a_part([TopicRow(2, "u", b"three")])])
    assert model.slate("u") == b"three"


def test_a_log_that_counts_anew_is_kept_from_there(model: ReadModel) -> None:
    model.keep([a_part([TopicRow(40, "u", b"one")])])
    model.rewind(SLATES, 0, 0)
    model.keep([a_part([TopicRow(1, "u", b"two")])])
    assert model.slate("u") == b"two"


def test_titles_are_found_by_the_beginnings_of_their_words_without_accents(model: ReadModel) -> None:
    keep_items(model, ("a", "Amélie"), ("b", "The Third Man"), ("c", "Third Star"))
    assert found(model, "ame") == ["a"]
    assert sorted(found(model, "THIRD")) == ["b", "c"]
    assert found(model, "third ma") == ["b"]
    assert found(model, "hird") == []
    assert sorted(found(model, "")) == ["a", "b", "c"]
    assert len(found(model, "th", 1)) == len(found(model, "", 1)) == 1


@pytest.mark.parametrize("text", ['"', "NEAR(", "a OR", "*", "';--", "title:x", "a & b", "'x':*", "\\", "\0", "ünï"])
def test_no_text_is_taken_for_a_query_language(model: ReadModel, text: str) -> None:
    keep_items(model, ("a", "Amélie"))
    model.search(text, 10)


def test_an_item_that_changes_its_title_is_found_by_the_new_one_alone(model: ReadModel) -> None:
    keep_items(model, ("a", "Old shoe"))
    keep_items(model, ("a", "New shoe"))
    assert (found(model, "old"), found(model, "new"), found(model, "shoe")) == ([], ["a"], ["a"])
    keep_items(model, ("a", None), ("unknown", None))
    assert (found(model, "new"), found(model, "")) == ([], [])
    assert model.counts() == {"slates": 0, "items": 0}


def test_items_are_found_by_their_ids_and_by_the_hashes_of_these(model: ReadModel) -> None:
    keep_items(model, ("a", "One"), ("b", ""), ("\0", "Three"))
    assert sorted(ids_of(model.items(["b", "unknown", "a", "\0"]))) == ["\0", "a", "b"]
    assert model.items_by_hash([hash64("b"), 7, hash64("a")]) == ["b", "a"]
    assert (model.items([]), model.items_by_hash([])) == ([], [])


def test_installations_that_share_a_server_do_not_see_each_other(server: StoreServer | None, model: ReadModel) -> None:
    if server is None:
        pytest.skip("a file is of one installation")
    keep_slates(model, ("u", b"one"))
    other = served_model(server.url, "another-")
    other.prepare()
    assert other.slate("u") is None
    assert other.resume("slates", SLATES, None) == {}
    other.close()


def test_words_are_compared_in_small_letters_and_without_accents() -> None:
    assert words_of("Die Brücke -- die STRASSE, straße 3d") == ["3d", "brucke", "die", "strasse"]
