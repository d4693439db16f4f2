"""Items by attribute: of each attribute the newest items and the most popular ones."""

import numpy as np

from models.arrays import Floats, Hash32s, Int32s, Int64s
from models.kernels import inline, kernel

N_POSTED = 32


class Postings:
    """Bounded posting lists; attribute hashes have numbers that never leave the process."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self.newest = np.full((16, N_POSTED), -1, np.int32)
        """(P, 32) item rows in no order, -1 where empty."""
        self.popular = np.full((16, N_POSTED), -1, np.int32)
        self.n_items = np.zeros(16, np.int32)
        """(P,) items that carry the attribute."""

    def numbers_of(self, attributes: Hash32s) -> Int32s:
        """Look up (M,) attributes: (M,) posting numbers, -1 where no item carries one."""
        get = self._numbers.get
        return np.fromiter((get(a, -1) for a in attributes.tolist()), np.int32, len(attributes))

    def add(self, row: int, attributes: list[int], created_at: Int64s, hashes: Int64s, popularity: Floats) -> None:
        """Post an item under its attributes."""
        for attribute in attributes:
            number = self._number(attribute)
            self.n_items[number] += 1
            _offer_newest(self.newest[number], row, created_at, hashes)
            _offer_popular(self.popular[number], row, popularity, hashes)

    def remove(self, row: int, attributes: list[int]) -> None:
        """Take an item out of its attributes' lists."""
        for attribute in attributes:
            number = self._numbers[attribute]
            self.n_items[number] -= 1
            self.newest[number][self.newest[number] == row] = -1
            self.popular[number][self.popular[number] == row] = -1

    def raise_popular(self, rows: Int32s, attributes: Hash32s, popularity: Floats, hashes: Int64s) -> None:
        """Offer (M,) rows, whose popularity has grown, to the popular lists of their attributes."""
        wanted = np.ascontiguousarray(attributes[rows])  # (M, 8)
        numbers = self.numbers_of(wanted.ravel()).reshape(wanted.shape)
        _offer_all(self.popular, rows, numbers, popularity, hashes)

    def _number(self, attribute: int) -> int:
        number = self._numbers.setdefault(attribute, len(self._numbers))
        if number == len(self.n_items):
            empty = np.full_like(self.newest, -1)
            self.newest = np.concatenate([self.newest, empty])
            self.popular = np.concatenate([self.popular, empty])
            self.n_items = np.concatenate([self.n_items, np.zeros_like(self.n_items)])
        return number


@inline
def _offer_popular(posted: Int32s, row: int, popularity: Floats, hashes: Int64s) -> None:
    """Put `row` in place of the least popular one, ties by hash, unless it is there or less popular."""
    least, empty = 0, -1
    for p in range(len(posted)):
        other = posted[p]
        if other == row:
            return
        if other < 0:
            empty = p
        if empty >= 0:
            continue
        worst = posted[least]
        if popularity[other, 1] < popularity[worst, 1] or (
            popularity[other, 1] == popularity[worst, 1] and hashes[other] > hashes[worst]
        ):
            least = p
    if empty >= 0:
        posted[empty] = row
        return
    worst = posted[least]
    if popularity[row, 1] > popularity[worst, 1] or (
        popularity[row, 1] == popularity[worst, 1] and hashes[row] < hashes[worst]
    ):
        posted[least] = row


@inline
def _offer_newest(posted: Int32s, row: int, created_at: Int64s, hashes: Int64s) -> None:
    """Put `row` in place of the oldest one, ties by hash, unless it is there or older."""
    oldest, empty = 0, -1
    for p in range(len(posted)):
        other = posted[p]
        if other == row:
            return
        if other < 0:
            empty = p
        if empty >= 0:
            continue
        worst = posted[oldest]
        if created_at[other] < created_at[worst] or (
            created_at[other] == created_at[worst] and hashes[other] > hashes[worst]
        ):
            oldest = p
    if empty >= 0:
        posted[empty] = row
        return
    worst = posted[oldest]
    if created_at[row] > created_at[worst] or (created_at[row] == created_at[worst] and hashes[row] < hashes[worst]):
        posted[oldest] = row


@kernel
def _offer_all(popular: Int32s, rows: Int32s, numbers: Int32s, popularity: Floats, hashes: Int64s) -> None:
    for m in range(len(rows)):
        for a in range(numbers.shape[1]):
            if numbers[m, a] >= 0:
                _offer_popular(popular[numbers[m, a]], rows[m], popularity, hashes)
