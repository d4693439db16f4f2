"""The most recent sessions, found by their items: what session kNN looks for neighbours in.

Memory is bounded by the number of sessions and by their length: each item of a session is one node in its item's
run, the newest session last, and a session that takes another's number takes its nodes too.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.items.columns import Columns
from models.items.row_keys import CheckedRow, tombstone
from models.items.runs import LEAST_ROOM, RunArrays, Runs, put_in, room_for_one_more, take_out
from models.items.wire import HEADER_WORDS, REFERENCE_AT, TOMBSTONE, USER, VERSION
from models.numeric.arrays import Int32s, Int64s
from models.numeric.kernels import inline, kernel

LENGTH = 27
"""Items kept of a session, the newest: as many as two cache lines hold of it."""

SESSION = np.dtype(
    [
        ("last_at", "<i8"),  # of the newest event, Unix ms
        ("owner", "<i8"),  # hash of the user
        ("length", "<i4"),  # 0 for a number without a session
        ("items", "<i4", LENGTH),  # rows, oldest first
    ]
)
"""Two cache lines, of which most sessions need the first alone: whoever looks at one waits for memory once."""

Sessions = NDArray[np.void]
"""(S,) records of `SESSION`."""


class NewSessions(NamedTuple):
    """M sessions that take the place of those with their numbers."""

    numbers: Int64s
    """(M,)"""
    versions: Int64s
    """(M,) `TOMBSTONE` takes the session away."""
    owners: Int64s
    """(M,) hashes of the users."""
    last_at: Int64s
    """(M,) of the newest event, Unix ms."""
    starts: Int64s
    """(M + 1,) where each session's items begin among those of all, oldest first."""


class SessionRows(NamedTuple):
    """Rows of sessions laid end to end."""

    sessions: NewSessions
    items: Int64s
    """Hashes, session by session, oldest first."""

    @classmethod
    def read(cls, rows: list[CheckedRow]) -> "SessionRows":
        """Unpack rows.

        Raises
        ------
        ValueError : an item has no hash; the text names the key.
        """
        words = [np.frombuffer(value or tombstone(key), np.int64) for key, value in rows]
        for (key, _), row in zip(rows, words, strict=True):
            if (row[HEADER_WORDS:] <= 0).any():
                raise key.error("an item without a hash")
        headers = np.array([row[:HEADER_WORDS] for row in words], np.int64).reshape(-1, HEADER_WORDS)
        starts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) - HEADER_WORDS for row in words], out=starts[1:])
        numbers = np.array([key.number for key, _ in rows], np.int64)
        return cls(
            NewSessions(numbers, headers[:, VERSION], headers[:, USER], headers[:, REFERENCE_AT], starts),
            np.concatenate([np.empty(0, np.int64), *(row[HEADER_WORDS:] for row in words)]),
        )


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

        node = session * 27 + position of the item's last occurrence.
        """
        self.n = 0
        """Sessions that are there."""

    def put(self, sessions: NewSessions, items: Int32s) -> int:
        """Take sessions; an older or repeated version changes nothing.

        Parameters
        ----------
        items : rows of all sessions' items, of which the last 27 of each are kept.

        Returns
        -------
        How many changed.
        """
        n_sessions = len(sessions.numbers)
        if not n_sessions:
            return 0
        self._reserve(int(sessions.numbers.max()) + 1)
        n_changed = done = 0
        while True:
            done, changed, more = _put(done, sessions, items, self.records, self.versions, self.holders.arrays)
            n_changed += changed
            self.n += more
            if done == n_sessions:
                return n_changed
            self.holders.lay_out(LENGTH * LEAST_ROOM)

    def _reserve(self, n: int) -> None:
        capacity = len(self.records)
        if n <= capacity:
            return
        records = _records(max(n, 2 * capacity))
        records[:capacity] = self.records
        self.records = records
        # Neither array is touched beyond what is copied: the system gives memory where a session is written.
        versions = np.zeros(len(records), np.int64)
        versions[:capacity] = self.versions
        self.versions = versions


def _records(n: int) -> Sessions:
    """Make room for n sessions, each in cache lines of its own."""
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
def _position(session: int, at: int, item: int, records: Sessions, runs: RunArrays) -> int:
    """Find where a session that ended at `at` stands in an item's run, or belongs."""
    start, size = runs.starts[item], runs.sizes[item]
    low, high = 0, size
    # Nearly every new session is the newest.
    if size > 0 and _stands_before(runs.cells[start + size - 1], at, session, records):
        low = size
    while low < high:
        middle = (low + high) // 2
        if _stands_before(runs.cells[start + middle], at, session, records):
            low = middle + 1
        else:
            high = middle
    return low


@inline
def _take_away(session: int, records: Sessions, runs: RunArrays) -> None:
    """Empty a session, and take all its nodes out of their runs."""
    record = records[session]
    for p in range(record.length):
        item = record.items[p]
        if _is_last(record.items, p, record.length):
            take_out(item, _position(session, record.last_at, item, records, runs), runs)
    record.length = 0


@inline
def _needed(items: Int32s, runs: RunArrays) -> int:
    """Say how many free cells a session with these (n,) items needs at most."""
    needed = 0
    for p in range(len(items)):
        if _is_last(items, p, len(items)):
            needed += room_for_one_more(runs.sizes[items[p]], runs.rooms[items[p]])
    return needed


@kernel
def _put(
    first: int,
    new: NewSessions,
    items: Int32s,  # rows of the new sessions' items
    records: Sessions,  # (S,) written
    versions: Int64s,  # (S,) written
    runs: RunArrays,  # written
) -> tuple[int, int, int]:
    """Put sessions from `first` on until the runs are full; say how far, how many changed, how many more there are."""
    n_changed = n_more = 0
    for m in range(first, len(new.numbers)):
        session, version, at = new.numbers[m], new.versions[m], new.last_at[m]
        if version != TOMBSTONE and version <= versions[session]:
            continue
        held = items[max(new.starts[m], new.starts[m + 1] - LENGTH) : new.starts[m + 1]]
        if runs.used[0] + _needed(held, runs) > len(runs.cells):
            return m, n_changed, n_more
        n_changed += 1
        record = records[session]
        n_more -= record.length > 0
        _take_away(session, records, runs)
        versions[session] = max(version, 0)
        record.owner, record.last_at, record.length = new.owners[m], at, len(held)
        n_more += len(held) > 0
        for p in range(len(held)):
            record.items[p] = held[p]
        for p in range(len(held)):
            item = held[p]
            if _is_last(held, p, len(held)):
                put_in(item, _position(session, at, item, records, runs), session * LENGTH + p, runs)
    return len(new.numbers), n_changed, n_more
