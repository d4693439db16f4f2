import pytest

from dataflows.steps.learn_content import ContentState
from models.items.vectors import content_vector
from models.messages import Item

LAMP = Item("i-1", title="A brass lamp", categories=["home"])
FIRST_RELEASE = bytes.fromhex("010000000000000007000000000000000102030405060708")


def test_the_first_entry_is_published_with_its_vector():
    row = ContentState(first_version=7).apply(content_vector(LAMP))
    assert row is not None
    assert row.version == 7
    assert row.vector.tolist() == content_vector(LAMP).tolist()


def test_what_does_not_change_the_content_is_not_published_again():
    state = ContentState(1)
    state.apply(content_vector(LAMP))
    assert state.apply(content_vector(Item("i-1", title="A brass lamp", categories=["home"], available=False))) is None


def test_a_changed_title_is_published_with_a_higher_version():
    state = ContentState(1)
    state.apply(content_vector(LAMP))
    row = state.apply(content_vector(Item("i-1", title="An iron lantern", categories=["home"])))
    assert row is not None
    assert row.version == 2


def test_an_item_that_comes_back_is_published_again():
    state = ContentState(1)
    state.apply(content_vector(LAMP))
    state.remove()
    row = state.apply(content_vector(LAMP))
    assert row is not None
    assert row.version == 2


def test_a_packed_state_knows_what_it_published():
    state = ContentState(1)
    state.apply(content_vector(LAMP))
    resumed = ContentState.unpack(state.pack())
    assert resumed.apply(content_vector(LAMP)) is None
    row = resumed.apply(content_vector(Item("i-1", title="An iron lantern")))
    assert row is not None
    assert row.version == 2


def test_a_state_packed_by_the_first_release_still_loads():
    row = ContentState.unpack(FIRST_RELEASE).apply(content_vector(LAMP))
    assert row is not None
    assert row.version == 8


def test_a_newer_format_is_refused():
    with pytest.raises(ValueError, match="format 2"):
        ContentState.unpack(b"\x02" + FIRST_RELEASE[1:])
