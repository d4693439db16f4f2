"""Available items by attribute: of each attribute the newest items and the most popular ones."""

import numpy as np

from models.items.columns import LONG, Columns
from models.numeric.arrays import Bools, Floats, Hash32s, Int32s, Int64s
from models.numeric.hashmap import Numbers
from models.numeric.kernels import inline, kernel

N_POSTED = 32


class Postings:
    """Bounded posting lists, exact whenever nothing is being applied.

    Attributes have numbers that never leave the process; the column `posted` says which lists an item is offered to.

    Parameters
    ----------
    columns : dates, popularities and hashes of the items: a list is ordered by date or by the popularity at the long
        half-life, ties by the hash.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._numbers = Numbers()
        self.newest = np.full((16, N_POSTED), -1, np.int32)
        """(P, 32) newest available items of an attribute: rows, -1 where there are fewer."""
        self.popular = np.full((16, N_POSTED), -1, np.int32)
        """(P, 32) most popular available items of an attribute: rows, -1 where there are fewer."""
        self.n_items = np.zeros(16, np.int32)
        """(P,) available items that carry an attribute."""
        self._incomplete = np.zeros(16, np.bool_)
        """(P,) lists that lack an item which they may have room for: they lost one, or one of theirs has fallen."""

    def numbers_of(self, attributes: Hash32s) -> Int32s:
        """Look up (M,) attributes: (M,) posting numbers, -1 where no item carries one."""
        return self._numbers.of(_keys(attributes))

    def number(self, attributes: Hash32s) -> Int32s:
        """Look up (M, 8) attributes, giving a number to each that has none: (M, 8), -1 for attribute 0."""
        carried = attributes != 0
        numbers = np.full(attributes.shape, -1, np.int32)
        keys = _keys(attributes[carried])
        if self._numbers.n + len(keys) > len(self.n_items):
            self._free_unused()
        numbers[carried] = self._numbers.ensure(keys)
        while len(self.n_items) < self._numbers.n:
            empty = np.full_like(self.newest, -1)
            self.newest = np.concatenate([self.newest, empty])
            self.popular = np.concatenate([self.popular, empty])
            self.n_items = np.concatenate([self.n_items, np.zeros_like(self.n_items)])
            self._incomplete = np.concatenate([self._incomplete, np.zeros_like(self._incomplete)])
        return numbers

    def _free_unused(self) -> None:
        """Give the lists that some item is in new numbers and free the others, where those are half of all or more.

        A catalog that says a time or a stock note of its items would else fill the memory with what nobody carries.
        """
        used = np.flatnonzero(self.n_items > 0)
        if 2 * len(used) > len(self.n_items) or self._numbers.n <= 2 * len(used):
            return
        keys, numbers = self._numbers.keys[used], Numbers()
        new = numbers.ensure(keys)
        for name, empty in (("newest", -1), ("popular", -1), ("n_items", 0), ("_incomplete", False)):
            before = getattr(self, name)
            after = np.full_like(before, empty)
            after[new] = before[used]
            setattr(self, name, after)
        renumbered = np.full(len(self.n_items) + 1, -1, np.int32)  # the last, for no list, stays what it is
        renumbered[used] = new
        self._columns.posted[:] = renumbered[self._columns.posted]
        self._numbers = numbers

    def withdraw(self, rows: Int32s) -> None:
        """Take (M,) items out of their lists: they are offered to none."""
        _withdraw(rows, self._columns.posted, self.newest, self.popular, self.n_items, self._incomplete)

    def post(self, rows: Int32s, numbers: Int32s) -> None:
        """Offer (M,) items that are offered to no list to those of (M, 8) numbers, -1 for none."""
        self._columns.posted[rows] = numbers
        np.add.at(self.n_items, numbers[numbers >= 0], 1)
        self.offer(rows)

    def offer(self, rows: Int32s) -> None:
        """Offer (M,) items, all different, whose date or popularity may have risen, to their lists again."""
        columns = self._columns
        _offer_all(
            rows, columns.posted, self.newest, self.popular, columns.created_at, columns.popularity, columns.hashes
        )

    def lower(self, rows: Int32s) -> None:
        """Say, before they are offered, that the popularity of (M,) items has fallen: others may take their places."""
        _lower(rows, self._columns.posted, self.popular, self.n_items, self._incomplete)

    def reorder(self) -> None:
        """Remember that all popularities have changed alike, by which some may have become equal."""
        self._incomplete[:] = True

    def refill(self) -> None:
        """Complete the lists that lost an item, by one pass over all items."""
        if self._incomplete.any():
            self.newest[self._incomplete] = self.popular[self._incomplete] = -1
            columns = self._columns
            _refill(
                columns.n, self._incomplete, columns.posted, self.newest, self.popular,
                columns.created_at, columns.popularity, columns.hashes,
            )  # fmt: skip
            self._incomplete[:] = False


def _keys(attributes: Hash32s) -> Int64s:
    """Make keys of 32-bit hashes."""
    return attributes.astype(np.int64)


@inline
def _insert(posted: Int32s, row: int, ranks: Int64s | Floats, hashes: Int64s) -> None:
    """Put `row`, which is not in the (32,) list, where it belongs; what has no room falls out."""
    p = len(posted)
    while p > 0:
        other = posted[p - 1]
        if other >= 0 and (ranks[other] > ranks[row] or (ranks[other] == ranks[row] and hashes[other] < hashes[row])):
            break
        p -= 1
        if p + 1 < len(posted):
            posted[p + 1] = other
    if p < len(posted):
        posted[p] = row


@inline
def _take_out(posted: Int32s, row: int) -> bool:
    """Take `row` out of a (32,) list and close the gap; says whether it was there."""
    found = False
    for p in range(len(posted)):
        if found:
            posted[p - 1] = posted[p]
        elif posted[p] == row:
            found = True
    if found:
        posted[-1] = -1
    return found


@kernel
def _offer_all(
    rows: Int32s,  # (M,) all different
    posted: Int32s,  # (N, 8)
    newest: Int32s,  # (P, 32) written
    popular: Int32s,  # (P, 32) written
    created_at: Int64s,  # (N,)
    popularity: Floats,  # (N, 2)
    hashes: Int64s,  # (N,)
) -> None:
    """Take out the rows whose rank has risen, so that what is left is in order; then put all where they belong."""
    for row in rows:
        for number in posted[row]:
            if number >= 0:
                _take_out(newest[number], row)
                _take_out(popular[number], row)
    for row in rows:
        for number in posted[row]:
            if number >= 0:
                _insert(newest[number], row, created_at, hashes)
                _insert(popular[number], row, popularity[:, LONG], hashes)


@kernel
def _withdraw(
    rows: Int32s,  # (M,)
    posted: Int32s,  # (N, 8) written
    newest: Int32s,  # (P, 32) written
    popular: Int32s,  # (P, 32) written
    n_items: Int32s,  # (P,) written
    incomplete: Bools,  # (P,) written
) -> None:
    """Take rows out of all lists that offer them, and mark the lists that lack an item now."""
    for row in rows:
        for a in range(posted.shape[1]):
            number = posted[row, a]
            if number < 0:
                continue
            posted[row, a] = -1
            n_items[number] -= 1
            was_new = _take_out(newest[number], row)
            was_popular = _take_out(popular[number], row)
            # With fewer than that, all others stand in both lists.
            if (was_new or was_popular) and n_items[number] >= newest.shape[1]:
                incomplete[number] = True


@kernel
def _lower(
    rows: Int32s,  # (M,)
    posted: Int32s,  # (N, 8)
    popular: Int32s,  # (P, 32)
    n_items: Int32s,  # (P,)
    incomplete: Bools,  # (P,) written
) -> None:
    """Mark the lists of popular items in which a row stands, where others wait for room."""
    for row in rows:
        for number in posted[row]:
            if number >= 0 and n_items[number] > popular.shape[1]:
                for other in popular[number]:
                    if other == row:
                        incomplete[number] = True


@kernel
def _refill(
    n: int,
    incomplete: Bools,  # (P,)
    posted: Int32s,  # (N, 8)
    newest: Int32s,  # (P, 32) written
    popular: Int32s,  # (P, 32) written
    created_at: Int64s,  # (N,)
    popularity: Floats,  # (N, 2)
    hashes: Int64s,  # (N,)
) -> None:
    """Offer the first n rows to the incomplete lists, which were emptied."""
    for row in range(n):
        for number in posted[row]:
            if number >= 0 and incomplete[number]:
                _insert(newest[number], row, created_at, hashes)
                _insert(popular[number], row, popularity[:, LONG], hashes)
