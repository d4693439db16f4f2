"""Text spaces: one contract for hashed words and for sentence encoders, here with a small one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.items.vectors import HASHED, Sentences, TextSpace, content_vector, text_vector
from models.messages import Item
from models.numeric.arrays import Floats

MEANINGS = {"sofa": 0, "couch": 0, "settee": 0, "lamp": 1, "lantern": 1, "kettle": 2, "teapot": 2}
WIDTH = 96


def nothing_tells(_word: str) -> bool:
    return False


def encode(texts: list[str]) -> Floats:
    """Add up a fixed random vector a meaning, and one a word that means nothing else."""
    known = np.random.RandomState(3).standard_normal((3, WIDTH)).astype(np.float32)
    vectors = np.zeros((len(texts), WIDTH), np.float32)
    for place, text in enumerate(texts):
        for word in text.lower().replace(".", " ").replace(",", " ").split():
            own = np.random.RandomState(sum(word.encode())).standard_normal(WIDTH)
            vectors[place] += known[MEANINGS[word]] if word in MEANINGS else own.astype(np.float32)
    return vectors


SENTENCES = Sentences(encode)
SPACES = {"hashed": HASHED, "sentences": SENTENCES}
ITEM = Item("i", title="A brass lamp", text="It shines.", categories=["home"], tags=["old"])


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> TextSpace:
    return SPACES[request.param]


def length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector.astype(float)))


def test_items_are_unit_vectors_of_64_bytes(space: TextSpace):
    vectors = space.items([ITEM, Item("j", title="A kettle")])
    assert (vectors.shape, vectors.dtype) == ((2, 64), np.int8)
    assert [length(vector) for vector in vectors] == [pytest.approx(127, rel=0.02)] * 2


def test_an_item_without_words_is_like_nothing(space: TextSpace):
    assert not space.items([Item("blank")]).any()
    assert not space.search(" ", nothing_tells).any()


def test_no_items_have_no_vectors(space: TextSpace):
    assert space.items([]).shape == (0, 64)


def test_an_item_has_the_same_vector_in_any_batch(space: TextSpace):
    alone, among = space.items([ITEM])[0], space.items([Item("j", title="A kettle"), Item("blank"), ITEM])[2]
    assert alone.tolist() == among.tolist()


def test_a_search_finds_its_own_words_first(space: TextSpace):
    lamp, kettle = space.items([Item("i", title="lamp"), Item("j", title="kettle")]).astype(int)
    asked = space.search("lamp", nothing_tells).astype(int)
    assert asked @ lamp > asked @ kettle


def test_hashed_is_what_it_was_before_there_was_a_choice():
    assert HASHED.items([ITEM])[0].tolist() == content_vector(ITEM).tolist()
    assert HASHED.search("lamp", nothing_tells).tolist() == text_vector("lamp").tolist()


def test_sentences_see_the_likeness_of_other_words():
    couch, kettle = SENTENCES.items([Item("i", title="couch"), Item("j", title="kettle")]).astype(int)
    asked = SENTENCES.search("settee", nothing_tells).astype(int)
    assert asked @ couch > 0.95 * 127 * 127
    assert asked @ kettle < 0.5 * 127 * 127


@given(st.lists(st.integers(-50, 50), min_size=WIDTH, max_size=WIDTH), st.floats(0.1, 100))
def test_the_projection_keeps_the_direction_whatever_the_length(values: list[int], times: float):
    vector = np.array([values], float)
    one, other = (
        Sentences(lambda texts, by=by: np.repeat(by * vector, len(texts), 0)).search("x", nothing_tells)
        for by in (1, times)
    )
    assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_the_projection_is_the_same_in_every_release():
    basis = Sentences(lambda texts: np.repeat(np.eye(1, WIDTH), len(texts), 0)).search("x", nothing_tells)
    row = np.array([1.764052345967664, 0.4001572083672233, 0.9787379841057392])
    # NumPy's own published numbers of RandomState(0), scaled to one length.
    assert basis[:3].tolist() == pytest.approx((row * basis[0] / row[0]).round().tolist(), abs=1)
