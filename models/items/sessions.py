"""The most recent sessions, found by their items: what session kNN looks for neighbours in.

Memory is bounded by the number of sessions and by their length: each item of a session is one node of its item's
chain, newest session first, and a session that takes another's number takes its nodes too.
"""

import numpy as np

from models.arrays import Int32s, Int64s
from models.items.columns import Columns
from models.kernels import inline, kernel

LENGTH = 11
"""Items kept of a session, the newest: as far as a pair of `learn` reaches, and one more."""
MAX_SESSIONS = 1 << 22
"""No session has this number or a higher one."""
EMPTY = -1
"""Version of a session that is taken away."""


class SessionIndex:
    """Sessions by number, and for each item the sessions that hold it.

    Parameters
    ----------
    columns : the items' arrays; `session_head` and `n_sessions` are kept here.
    capacity : sessions to begin with; doubled when a higher number comes.
    """

    def __init__(self, columns: Columns, capacity: int = 1 << 10) -> None:
        self._columns = columns
        self.items: Int32s = np.full((capacity, LENGTH), -1, np.int32)
        """(S, 11) rows, oldest first, then -1."""
        self.lengths: Int32s = np.zeros(capacity, np.int32)
        """(S,)"""
        self.last_at: Int64s = np.zeros(capacity, np.int64)
        """(S,) of the newest event, Unix ms."""
        self.owners: Int64s = np.zeros(capacity, np.int64)
        """(S,) hash of the user."""
        self.versions: Int64s = np.zeros(capacity, np.int64)
        """(S,) of the row that was applied."""
        self.older: Int32s = np.full(capacity * LENGTH, -1, np.int32)
        """(S * 11,) the next node of the item's chain; node = session * 11 + position of the item's last occurrence."""
        self._newer: Int32s = np.full(capacity * LENGTH, -1, np.int32)
        self.n = 0
        """Sessions that are there."""
        self.numbers: Int64s = np.arange(capacity)
        """(S,) by which equally similar sessions are ordered."""

    @property
    def heads(self) -> Int32s:
        """(N,) first node of each item's chain, -1 for none."""
        return self._columns.session_head

    @property
    def n_sessions(self) -> Int32s:
        """(N,) sessions that hold the item."""
        return self._columns.n_sessions

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
        n_changed, n_more = _put(
            numbers, versions, owners, at, starts, rows, self.items, self.lengths, self.last_at, self.owners,
            self.versions, self.older, self._newer, self.heads, self.n_sessions,
        )  # fmt: skip
        self.n += n_more
        return n_changed

    def _reserve(self, n: int) -> None:
        capacity = len(self.lengths)
        if n <= capacity:
            return
        more = max(n, 2 * capacity) - capacity
        self.items = np.concatenate([self.items, np.full((more, LENGTH), -1, np.int32)])
        self.lengths = np.concatenate([self.lengths, np.zeros(more, np.int32)])
        self.last_at = np.concatenate([self.last_at, np.zeros(more, np.int64)])
        self.owners = np.concatenate([self.owners, np.zeros(more, np.int64)])
        self.versions = np.concatenate([self.versions, np.zeros(more, np.int64)])
        self.older = np.concatenate([self.older, np.full(more * LENGTH, -1, np.int32)])
        self._newer = np.concatenate([self._newer, np.full(more * LENGTH, -1, np.int32)])
        self.numbers = np.arange(capacity + more)


@inline
def _is_last(items: Int32s, p: int, n: int) -> bool:
    """Whether the item at `p` does not come again in its session of length `n`."""
    later = p + 1
    while later < n and items[later] != items[p]:
        later += 1
    return later == n


@inline
def _take_out(
    session: int,
    items: Int32s,
    lengths: Int32s,
    older: Int32s,
    newer: Int32s,
    heads: Int32s,
    n_sessions: Int32s,
) -> None:
    """Unlink all nodes of a session."""
    for p in range(lengths[session]):
        item = items[session, p]
        if not _is_last(items[session], p, lengths[session]):
            continue
        node = session * items.shape[1] + p
        before, after = newer[node], older[node]
        if before >= 0:
            older[before] = after
        else:
            heads[item] = after
        if after >= 0:
            newer[after] = before
        n_sessions[item] -= 1
    lengths[session] = 0


@inline
def _link(node: int, item: int, session: int, last_at: Int64s, older: Int32s, newer: Int32s, heads: Int32s) -> None:
    """Put a node where it belongs: newest session first, the lower number first at a tie."""
    length = len(older) // len(last_at)
    before, after = -1, heads[item]
    while after >= 0:
        other = after // length
        if last_at[other] < last_at[session] or (last_at[other] == last_at[session] and other > session):
            break
        before, after = after, older[after]
    newer[node], older[node] = before, after
    if before >= 0:
        older[before] = node
    else:
        heads[item] = node
    if after >= 0:
        newer[after] = node


@kernel
def _put(
    numbers: Int64s, new_versions: Int64s, new_owners: Int64s, at: Int64s, starts: Int64s, rows: Int32s,
    items: Int32s, lengths: Int32s, last_at: Int64s, owners: Int64s, versions: Int64s, older: Int32s, newer: Int32s,
    heads: Int32s, n_sessions: Int32s,
) -> tuple[int, int]:  # fmt: skip
    """Say how many changed, and how many more sessions there are."""
    n_changed = n_more = 0
    for m in range(len(numbers)):
        session = numbers[m]
        if new_versions[m] != EMPTY and new_versions[m] <= versions[session]:
            continue
        n_changed += 1
        n_more -= lengths[session] > 0
        _take_out(session, items, lengths, older, newer, heads, n_sessions)
        versions[session] = max(new_versions[m], 0)
        owners[session], last_at[session] = new_owners[m], at[m]
        n = min(starts[m + 1] - starts[m], items.shape[1])
        for p in range(n):
            items[session, p] = rows[starts[m + 1] - n + p]
        lengths[session] = n
        n_more += n > 0
        for p in range(n):
            if _is_last(items[session], p, n):
                item = items[session, p]
                _link(session * items.shape[1] + p, item, session, last_at, older, newer, heads)
                n_sessions[item] += 1
    return n_changed, n_more
