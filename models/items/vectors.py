"""The spaces in which items and search texts are compared: unit vectors of 64 dimensions, times 127."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import xxhash

from models.items.catalog import price_band, short_texts, words_of
from models.items.columns import N_DIMENSIONS
from models.messages import Item
from models.numeric.arrays import Floats, Int8s

UNIT = 127
"""The length of a vector."""
TITLE_WORD_COUNT = 10
"""Times that a search counts a word which stands in the title of an item."""
_WEIGHTS = {"category": 3.0, "tag": 2.0, "price": 0.5, "word": 1.0, "pair": 0.7, "gram": 0.3}
"""By kind of feature of a hashed vector."""


class TextSpace(Protocol):
    """Turns words into vectors; `learn` and `recommend` have to use the same one."""

    def items(self, items: Sequence[Item]) -> Int8s:
        """Return the items' vectors, (N, 64); all zero for an item without words."""

    def search(self, text: str, is_title_word: Callable[[str], bool]) -> Int8s:
        """Return the vector of a search text, (64,).

        Parameters
        ----------
        is_title_word : says of a word whether it stands in the title of an item.
        """


class Hashed:
    """Hashed words, pairs and character trigrams: no model, a few microseconds an item."""

    def items(self, items: Sequence[Item]) -> Int8s:
        """Hash each item."""
        return np.array([content_vector(item) for item in items], np.int8).reshape(len(items), N_DIMENSIONS)

    def search(self, text: str, is_title_word: Callable[[str], bool]) -> Int8s:
        """Hash the text."""
        return text_vector(text, is_title_word)


HASHED = Hashed()


class Sentences:
    """A sentence encoder's vectors, projected at random (Johnson and Lindenstrauss 1984): likeness of meaning.

    A projected cosine c is off by about (1 - c^2) / 8, an eighth where the texts have nothing in common.

    Parameters
    ----------
    encode : N texts to (N, D) floats, of any length.
    """

    def __init__(self, encode: Callable[[list[str]], Floats]) -> None:
        self._encode = encode
        # Called here, so that no item and no search waits for what a model does at its first text.
        width = encode(["warm-up"]).shape[1]
        # NumPy keeps this generator's numbers the same for ever: another release must not project into another space.
        self._projection = np.random.RandomState(0).standard_normal((width, N_DIMENSIONS))

    def items(self, items: Sequence[Item]) -> Int8s:
        """Encode each item's title, text, categories and tags."""
        return self._vectors([_text_of(item) for item in items])

    def search(self, text: str, is_title_word: Callable[[str], bool]) -> Int8s:  # noqa: ARG002 - the encoder knows
        """Encode the text."""
        return np.asarray(self._vectors([text])[0], np.int8)

    def _vectors(self, texts: list[str]) -> Int8s:
        vectors = np.zeros((len(texts), N_DIMENSIONS))
        not_blank = [n for n, text in enumerate(texts) if text.strip()]
        if not_blank:
            projected = self._encode([texts[n] for n in not_blank]) @ self._projection
            lengths = np.linalg.norm(projected, axis=1, keepdims=True)
            vectors[not_blank] = projected / np.maximum(lengths, 1e-12)
        return np.rint(vectors * UNIT).astype(np.int8)


def _text_of(item: Item) -> str:
    names = ", ".join([*item.categories, *item.tags])
    return ". ".join(part for part in (item.title, item.text, names) if part)


def content_vector(item: Item) -> Int8s:
    """Hash an item's words, categories, tags, attributes that are short texts, and price into a vector.

    Signed feature hashing (Weinberger et al., 2009) of words, pairs of words and character trigrams, with sublinear
    term frequencies.

    Returns
    -------
    (64,) int8; all zero for an item without words.
    """
    features = _text_features(words_of(f"{item.title} {item.text}"))
    tags = [*item.tags, *short_texts(item).values()]
    for kind, names in (("category", item.categories), ("tag", tags), ("price", price_band(item.price))):
        features.update((kind, name.lower()) for name in names)
        for name in names:
            if kind != "price":
                features.update(("word", word) for word in words_of(name))
    return _hashed(features)


def text_vector(text: str, is_title_word: Callable[[str], bool] = lambda _word: False) -> Int8s:
    """Hash a search text into the space of `content_vector`: (64,) int8.

    Parameters
    ----------
    is_title_word : says of a word whether it counts as if it had been written ten times. A sentence holds many words
        that name nothing, and in few dimensions they would drown the one that does.
    """
    words = words_of(text)
    features = _text_features(words)
    title_words = [word for word in words if is_title_word(word)]
    for _ in range(TITLE_WORD_COUNT - 1):
        features.update(_text_features(title_words))
    features.update(("category", word) for word in words)
    # Any word of a search may be a category's name; of a sentence most are not.
    return _hashed(features, _WEIGHTS["category"] / max(len(words), 1))


def _text_features(words: list[str]) -> Counter[tuple[str, str]]:
    features = Counter(("word", word) for word in words)
    features.update(("pair", f"{one} {two}") for one, two in pairwise(words))
    features.update(("gram", f" {word} "[at : at + 3]) for word in words for at in range(len(word)))
    return features


def _hashed(features: Counter[tuple[str, str]], category: float = _WEIGHTS["category"]) -> Int8s:
    vector = np.zeros(N_DIMENSIONS)
    weights = _WEIGHTS | {"category": category}
    for (kind, name), count in features.items():
        hashed = xxhash.xxh32_intdigest(f"{kind}={name}".encode())
        sign = 1.0 if hashed >> 31 else -1.0
        vector[hashed % N_DIMENSIONS] += sign * weights[kind] * (1.0 + math.log(count))
    length = np.linalg.norm(vector)
    return np.rint(vector / length * UNIT).astype(np.int8) if length else vector.astype(np.int8)
