"""The most recent sessions, found by their items: what session kNN looks for neighbours in.

Memory is bounded by the number of sessions and by their length: each item of a session is one node in its item's
run, the newest session last, and a session that takes another's number takes its nodes too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.items.columns import Columns
from models.items.runs import LEAST_ROOM, Runs, put_in, room_for_one_more, take_out
from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

LENGTH = 11
"""Items kept of a session, the newest: as far as a pair of `learn` reaches, and one more."""
MAX_SESSIONS = 1 << 22
"""No session has this number or a higher one."""
EMPTY = -1
"""Version of a session that is taken away."""

SESSION = np.dtype(
    [
        ("last_at", "<i8"),  # of the newest event, Unix ms
        ("owner", "<i8"),  # hash of the user
        ("length", "<i4"),  # 0 for a number without a session
        ("items", "<i4", LENGTH),  # rows, oldest first
    ]
)
"""A cache line: whoever looks at a session waits for memory once."""

Sessions = NDArray[np.void]
"""(S,) records of `SESSION`."""


class SessionIndex:
    """Sessions by number, and for each item the sessions that hold it.

    Parameters
    ----------
    columns : the items' arrays, of which some are the runs'.
    capacity : sessions to begin with; doubled when a higher number comes.
    """

    def __init__(self, columns: Columns, capacity: int = 1 << 10) -> None:
        self.records: Sessions = _records(capacity)
        """(S,)"""
        self.versions: Int64s = np.zeros(capacity, np.int64)
        """(S,) of the row that was applied."""
        self.holders = Runs(columns, capacity)
        """Of each item the nodes of the sessions that hold it, the newest last, the higher number first at a tie.

        node = session * 11 + position of the item's last occurrence.
        """
        self.n = 0
        """Sessions that are there."""

    def put(self, numbers: Int64s, versions: Int64s, owners: Int64s, at: Int64s, starts: Int64s, rows: Int32s) -> int:
        """Take sessions; an older or repeated version changes nothing, version -1 takes the session away.

        Parameters
        ----------
        numbers, versions, owners, at : (M,) of each session.
        starts : (M + 1,) where its items begin in `rows`, oldest first; at most 11 each.

        Returns
        -------
        How many changed.
        """
        if not len(numbers):
            return 0
        self._reserve(int(numbers.max()) + 1)
        holders, n_changed, done = self.holders, 0, 0
        while True:
            done, changed, more = _put(
                done, numbers, versions, owners, at, starts, rows, self.records, self.versions,
                holders.cells, holders.used, holders.starts, holders.sizes, holders.rooms,
            )  # fmt: skip
            n_changed += changed
            self.n += more
            if done == len(numbers):
                return n_changed
            holders.lay_out(LENGTH * LEAST_ROOM)

    def _reserve(self, n: int) -> None:
        capacity = len(self.records)
        if n <= capacity:
            return
        records = _records(max(n, 2 * capacity))
        records[:capacity] = self.records
        self.records = records
        self.versions = np.concatenate([self.versions, np.zeros(len(records) - capacity, np.int64)])


def _records(n: int) -> Sessions:
    """Make room for n sessions, each in a cache line of its own."""
    size = SESSION.itemsize
    room = np.zeros((n + 1) * size, np.uint8)
    first = -room.ctypes.data % size
    return room[first : first + n * size].view(SESSION)


@inline
def _is_last(items: Any, p: int, n: int) -> bool:
    """Whether the item at `p` does not come again in its session of length `n`."""
    later = p + 1
    while later < n and items[later] != items[p]:
        later += 1
    return later == n


@inline
def _stands_before(node: int, at: int, session: int, records: Sessions) -> bool:
    """Whether a node of a run stands before a session that ended at `at`."""
    other = node // LENGTH
    other_at = records[other].last_at
    return bool(other_at < at or (other_at == at and other > session))


@inline
def _place(session: int, at: int, start: int, size: int, records: Sessions, cells: Int32s) -> int:
    """Find where a session that ended at `at` stands in a run, or belongs."""
    low, high = 0, size
    # Nearly every new session is the newest.
    if size > 0 and _stands_before(cells[start + size - 1], at, session, records):
        low = size
    while low < high:
        middle = (low + high) // 2
        if _stands_before(cells[start + middle], at, session, records):
            low = middle + 1
        else:
            high = middle
    return low


@inline
def _take_away(session: int, records: Sessions, cells: Int32s, starts: Int64s, sizes: Int32s) -> None:
    """Take all nodes of a session out of their runs."""
    record = records[session]
    for p in range(record.length):
        item = record.items[p]
        if _is_last(record.items, p, record.length):
            place = _place(session, record.last_at, starts[item], sizes[item], records, cells)
            take_out(item, place, cells, starts, sizes)
    record.length = 0


@inline
def _needed(rows: Int32s, sizes: Int32s, rooms: Int32s) -> int:
    """Say how many free cells a session with these items needs at most."""
    needed = 0
    for p in range(len(rows)):
        if _is_last(rows, p, len(rows)):
            needed += room_for_one_more(sizes[rows[p]], rooms[rows[p]])
    return needed


@kernel
def _put(
    first: int, numbers: Int64s, new_versions: Int64s, new_owners: Int64s, at: Int64s, row_starts: Int64s, rows: Int32s,
    records: Sessions, versions: Int64s, cells: Int32s, used: Int64s, starts: Int64s, sizes: Int32s, rooms: Int32s,
) -> tuple[int, int, int]:  # fmt: skip
    """Put sessions from `first` on until the runs are full; say how far, how many changed, how many more there are."""
    n_changed = n_more = 0
    for m in range(first, len(numbers)):
        session = numbers[m]
        if new_versions[m] != EMPTY and new_versions[m] <= versions[session]:
            continue
        held = rows[max(row_starts[m], row_starts[m + 1] - LENGTH) : row_starts[m + 1]]
        if used[0] + _needed(held, sizes, rooms) > len(cells):
            return m, n_changed, n_more
        n_changed += 1
        record = records[session]
        n_more -= record.length > 0
        _take_away(session, records, cells, starts, sizes)
        versions[session] = max(new_versions[m], 0)
        record.owner, record.last_at, record.length = new_owners[m], at[m], len(held)
        n_more += len(held) > 0
        for p in range(len(held)):
            record.items[p] = held[p]
        for p in range(len(held)):
            item = held[p]
            if _is_last(held, p, len(held)):
                place = _place(session, at[m], starts[item], sizes[item], records, cells)
                put_in(item, place, session * LENGTH + p, cells, used, starts, sizes, rooms)
    return len(numbers), n_changed, n_more
