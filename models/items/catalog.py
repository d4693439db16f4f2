"""Entries of the catalog as arrays: what the table takes over of each."""

from dataclasses import dataclass
from itertools import chain

import numpy as np

from models.items.attributes import LARGEST_PRICE, attributes_of
from models.items.columns import N_ATTRIBUTES
from models.messages import Item
from models.numeric.arrays import Bools, Floats, Hash32s, Int64s
from models.numeric.ids import hash32, hash_all


@dataclass(frozen=True, slots=True)
class Entries:
    """M entries, each of another item."""

    items: list[Item]
    hashes: Int64s
    """(M,)"""
    attributes: Hash32s
    """(M, 8) 0 where there are fewer."""
    category: Hash32s
    """(M,) 0 for none."""
    price: Floats
    """(M,) nan unknown."""
    created_at: Int64s
    """(M,) 0 unknown; Unix ms."""
    available: Bools
    """(M,)"""

    @classmethod
    def of(cls, items: list[Item], names: dict[int, str]) -> "Entries":
        """Lay entries out, the last of each item; `names` learns what their attributes are called."""
        entries = list({item.item_id: item for item in items}.values())
        carried = [{hash32(name): name for name in attributes_of(item)} for item in entries]
        for told in carried:
            names.update(told)
        sizes = np.array([len(told) for told in carried])
        attributes = np.zeros((len(entries), N_ATTRIBUTES), np.uint32)
        attributes[np.arange(N_ATTRIBUTES) < sizes[:, None]] = np.fromiter(chain.from_iterable(carried), np.uint32)
        has_category = np.array([bool(item.categories) for item in entries], np.bool_)
        prices = np.array([np.nan if item.price is None else item.price for item in entries], np.float64)
        return cls(
            items=entries,
            hashes=hash_all([item.item_id for item in entries]),
            attributes=attributes,
            category=np.where(has_category, attributes[:, 0], np.uint32(0)),
            price=np.minimum(prices, LARGEST_PRICE).astype(np.float32),
            created_at=np.array([item.created_at for item in entries], np.int64),
            available=np.array([item.available for item in entries], np.bool_),
        )
