"""The space in which items and search texts are compared: unit vectors of 64 dimensions, times 127."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from models.items.attributes import content_vector, text_vector
from models.items.columns import N_DIMENSIONS
from models.messages import Item
from models.numeric.arrays import Floats, Int8s


class TextSpace(Protocol):
    """Turns words into vectors; `learn` and `recommend` have to use the same one."""

    def items(self, items: Sequence[Item]) -> Int8s:
        """Return the items' vectors, (N, 64); all zero for an item without words."""

    def search(self, text: str, is_telling: Callable[[str], bool]) -> Int8s:
        """Return the vector of a search text, (64,).

        Parameters
        ----------
        is_telling : says of a word whether it stands in the title of an item.
        """


class Hashed:
    """Hashed words, pairs and character trigrams (`models.items.attributes`): no model, a few microseconds an item."""

    def items(self, items: Sequence[Item]) -> Int8s:
        """Hash each item."""
        return np.array([content_vector(item) for item in items], np.int8).reshape(len(items), N_DIMENSIONS)

    def search(self, text: str, is_telling: Callable[[str], bool]) -> Int8s:
        """Hash the text."""
        return text_vector(text, is_telling)


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
        return self._vectors([_words_of(item) for item in items])

    def search(self, text: str, is_telling: Callable[[str], bool]) -> Int8s:  # noqa: ARG002 - the encoder knows
        """Encode the text."""
        return np.asarray(self._vectors([text])[0], np.int8)

    def _vectors(self, texts: list[str]) -> Int8s:
        vectors = np.zeros((len(texts), N_DIMENSIONS))
        said = [place for place, text in enumerate(texts) if text.strip()]
        if said:
            projected = self._encode([texts[place] for place in said]) @ self._projection
            lengths = np.linalg.norm(projected, axis=1, keepdims=True)
            vectors[said] = projected / np.maximum(lengths, 1e-12)
        return np.rint(vectors * 127).astype(np.int8)


def _words_of(item: Item) -> str:
    names = ", ".join([*item.categories, *item.tags])
    return ". ".join(part for part in (item.title, item.text, names) if part)
