"""Entries of the catalog: the attributes that a profile learns of an item, and what the table takes over, as arrays."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from models.items.columns import N_ATTRIBUTES, NEVER
from models.messages import Item
from models.numeric.arrays import Bools, Doubles, Floats, Hash32s, Int64s
from models.numeric.ids import hash32, hash_all
from models.numeric.sphere import unit_vectors

LARGEST_PRICE = float(np.finfo(np.float32).max)
MIN_WORD_LENGTH = 4
"""Of a word of the title that is an attribute."""
MAX_TEXT_LENGTH = 64
"""A longer text is a description, not an attribute."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_STOP = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "in", "is", "it", "its",
    "of", "on", "or", "that", "the", "their", "this", "to", "was", "were", "will", "with", "your",
})  # fmt: skip


def words_of(text: str) -> list[str]:
    """List a text's words in lower case, without stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP]


def price_band(price: float | None) -> list[str]:
    """Name the power of two below a price; nothing for an unknown one."""
    return [f"price={math.floor(math.log2(min(price, LARGEST_PRICE)))}"] if price else []


def short_texts(item: Item) -> dict[str, str]:
    """Pick the item's own attributes that are short texts, such as its brand."""
    own = (item.attributes or {}).items()
    return {name: text for name, text in own if isinstance(text, str) and 0 < len(text) <= MAX_TEXT_LENGTH}


def word_attribute(word: str) -> str:
    """Name the attribute of the items whose title holds a word."""
    return f"word={word}"


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
    names += [f"{name}={text}" for name, text in short_texts(item).items()]
    names += price_band(item.price)
    words = sorted({word for word in words_of(item.title) if len(word) >= MIN_WORD_LENGTH})
    names += [word_attribute(word) for word in sorted(words, key=len, reverse=True)]
    return list(dict.fromkeys(names))[:N_ATTRIBUTES]


@dataclass(frozen=True, slots=True)
class Entries:
    """M entries, each of another item."""

    items: list[Item]
    hashes: Int64s
    """(M,) of the items' ids."""
    attributes: Hash32s
    """(M, 8) hashes, 0 where there are fewer."""
    category: Hash32s
    """(M,) 0 for none."""
    price: Floats
    """(M,) nan unknown."""
    margin: Floats
    """(M,) nan unknown."""
    created_at: Int64s
    """(M,) 0 unknown; Unix ms."""
    expires_at: Int64s
    """(M,) NEVER where it does not; Unix ms."""
    location: Floats
    """(M, 3) unit vectors, nan unknown."""
    reach_km: Floats
    """(M,) nan unknown."""
    available: Bools
    """(M,)"""

    @classmethod
    def of(cls, items: list[Item], names: dict[int, str]) -> "Entries":
        """Lay entries out, the last of each item; the names of their attributes are added to `names`, by hash."""
        entries = list({item.item_id: item for item in items}.values())
        names_by_hash = [{hash32(name): name for name in attributes_of(item)} for item in entries]
        for of_item in names_by_hash:
            names.update(of_item)
        sizes = np.array([len(of_item) for of_item in names_by_hash])
        attributes = np.zeros((len(entries), N_ATTRIBUTES), np.uint32)
        carried = np.fromiter(chain.from_iterable(names_by_hash), np.uint32)
        attributes[np.arange(N_ATTRIBUTES) < sizes[:, None]] = carried
        has_category = np.array([bool(item.categories) for item in entries], np.bool_)
        return cls(
            items=entries,
            hashes=hash_all([item.item_id for item in entries]),
            attributes=attributes,
            category=np.where(has_category, attributes[:, 0], np.uint32(0)),
            price=_amounts(item.price for item in entries),
            margin=_amounts(item.margin for item in entries),
            created_at=np.array([item.created_at for item in entries], np.int64),
            expires_at=np.array([NEVER if item.expires_at is None else item.expires_at for item in entries], np.int64),
            location=unit_vectors(*_locations(entries, "latitude", "longitude")).astype(np.float32),
            reach_km=_locations(entries, "reach_km")[0].astype(np.float32),
            available=np.array([item.available for item in entries], np.bool_),
        )


def _locations(entries: list[Item], *names: str) -> list[Doubles]:
    """Lay out numbers of the locations, each (M,), nan where there is none."""
    found = [[item.location and getattr(item.location, name) for item in entries] for name in names]
    return [np.array([np.nan if number is None else number for number in part], np.float64) for part in found]


def _amounts(known: Iterable[float | None]) -> Floats:
    """Lay amounts out, nan where there is none."""
    amounts = np.array([np.nan if amount is None else amount for amount in known], np.float64)
    return np.minimum(amounts, LARGEST_PRICE).astype(np.float32)
