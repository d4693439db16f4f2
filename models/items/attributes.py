"""What an item is, from its words: attributes for profiles, and a vector for likeness."""

import math
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import xxhash

from models.items.columns import N_ATTRIBUTES, N_DIMENSIONS
from models.messages import Item
from models.numeric.arrays import Int8s

_WORD = re.compile(r"[^\W\d_]{2,}")
_STOP = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "in",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "this",
        "to",
        "was",
        "were",
        "will",
        "with",
        "your",
    }
)
_MIN_LENGTH = 4
_TELLING = 10
"""Times that a telling word counts."""
_MAX_TEXT = 64
"""A longer text is a description, not an attribute."""
LARGEST_PRICE = float(np.finfo(np.float32).max)
_WEIGHTS = {"category": 3.0, "tag": 2.0, "price": 0.5, "word": 1.0, "pair": 0.7, "gram": 0.3}
"""Say of each kind of feature in the content vector."""


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP]


def _price_band(price: float | None) -> list[str]:
    return [f"price={math.floor(math.log2(min(price, LARGEST_PRICE)))}"] if price else []


def _short_texts(item: Item) -> dict[str, str]:
    """Pick the item's own attributes that are short texts, such as its brand."""
    own = (item.attributes or {}).items()
    return {name: text for name, text in own if isinstance(text, str) and 0 < len(text) <= _MAX_TEXT}


def attributes_of(item: Item) -> list[str]:
    """Name what a profile learns of an item.

    Returns
    -------
    At most 8 names such as `category=Drama`, `tag=1990s`, `brand=Lamy` (an attribute of the item's own that is a
    text), `price=7` (the power of two below it) and `word=lantern`, most telling first; longer words before shorter
    ones, since they are rarer.
    """
    names = [f"category={name}" for name in item.categories]
    names += [f"tag={name}" for name in item.tags]
    names += [f"{name}={text}" for name, text in _short_texts(item).items()]
    names += _price_band(item.price)
    words = sorted({word for word in _words(item.title) if len(word) >= _MIN_LENGTH})
    names += [word_attribute(word) for word in sorted(words, key=len, reverse=True)]
    return list(dict.fromkeys(names))[:N_ATTRIBUTES]


def content_vector(item: Item) -> Int8s:
    """Hash an item's words, categories, tags, attributes that are short texts, and price into a vector of length 127.

    Signed feature hashing (Weinberger et al., 2009) of words, pairs of words and character trigrams, with sublinear
    term frequencies.

    Returns
    -------
    (64,) int8; all zero for an item without words.
    """
    features = _text_features(_words(f"{item.title} {item.text}"))
    tags = [*item.tags, *_short_texts(item).values()]
    for kind, names in (("category", item.categories), ("tag", tags), ("price", _price_band(item.price))):
        features.update((kind, name.lower()) for name in names)
        for name in names:
            if kind != "price":
                features.update(("word", word) for word in _words(name))
    return _hashed(features)


def text_vector(text: str, is_telling: Callable[[str], bool] = lambda _word: False) -> Int8s:
    """Hash a search text into the space of `content_vector`: (64,) int8.

    Parameters
    ----------
    is_telling : says of a word whether it counts as if it had been written ten times. A sentence holds many words that
        name nothing, and in few dimensions they would drown the one that does.
    """
    words = _words(text)
    telling = [word for word in words if is_telling(word)]
    features = _text_features(words)
    for _ in range(_TELLING - 1):
        features.update(_text_features(telling))
    features.update(("category", word) for word in words)
    # Any word of a search may be a category's name; of a sentence most are not.
    return _hashed(features, _WEIGHTS["category"] / max(len(words), 1))


def word_attribute(word: str) -> str:
    """Name the attribute of the items whose title holds a word."""
    return f"word={word}"


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
    return np.rint(vector / length * 127).astype(np.int8) if length else vector.astype(np.int8)
