"""What leads from an item to others: runs of links in one array, as many an item as it has.

A run lies in a block with some room. Where an item gets more links than that, its run moves to the array's end, and
what it leaves behind is lost until the array is laid out again.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from models.items.columns import Columns
from models.numeric.arrays import Bools, Doubles, Floats, Int32s, Int64s
from models.numeric.kernels import inline, kernel

LinkKind: TypeAlias = Literal["neighbour", "habit"]
"""What came with the item in one session, or in different sessions of a user."""
LEAST_ROOM = 4


class LinkArrays(NamedTuple):
    """The links of N items, each item's heaviest first; weights are in landmark units of the long half-life."""

    others: Int32s
    """(P,) rows that links lead to."""
    rules: Floats
    """(P,) weights of the rule item -> other."""
    covisits: Floats
    """(P,) weights of both, in either order."""
    used: Int64s
    """(1,) links from the first on that belong to blocks, or did."""
    starts: Int64s
    """(N,) where each item's run begins."""
    sizes: Int32s
    """(N,) how long it is."""
    rooms: Int32s
    """(N,) how long it may become where it lies."""
    rule_totals: Doubles
    """(N,) each item's rules added up."""

    def of(self, row: int) -> slice:
        """Say where an item's run lies."""
        return slice(int(self.starts[row]), int(self.starts[row] + self.sizes[row]))


class LinkRuns:
    """The links of one kind.

    Parameters
    ----------
    columns : the items' arrays; where each run lies is kept there, under the name of the kind.
    """

    def __init__(self, columns: Columns, kind: LinkKind) -> None:
        self._columns = columns
        self._kind = kind
        self._others, self._rules, self._covisits = _room_for(0)
        self._used: Int64s = np.zeros(1, np.int64)

    @property
    def arrays(self) -> LinkArrays:
        """All arrays, until items or links are added."""
        columns, kind = self._columns, self._kind
        starts, sizes, rooms, totals = (
            getattr(columns, f"{kind}_{name}") for name in ("starts", "sizes", "rooms", "rule_totals")
        )
        return LinkArrays(self._others, self._rules, self._covisits, self._used, starts, sizes, rooms, totals)

    def reserve(self, n_links: int, n_items: int) -> None:
        """Make room for new runs of so many links and items together."""
        needed = 2 * n_links + LEAST_ROOM * n_items
        if self._used[0] + needed > len(self._others):
            self._lay_out(needed)

    def rescale(self, factor: float) -> None:
        """Multiply all weights."""
        self._rules *= np.float32(factor)
        self._covisits *= np.float32(factor)
        self.arrays.rule_totals[:] *= factor

    def _lay_out(self, more: int) -> None:
        """Lay out all runs again, without what was lost, with room for `more` links and half as many as there are."""
        others, rules, covisits, used, starts, sizes, rooms, _ = self.arrays
        new_rooms = np.where(sizes > 0, np.maximum(sizes + sizes // 4, LEAST_ROOM), 0)
        ends = np.cumsum(new_rooms, dtype=np.int64)
        new_starts, total = ends - new_rooms, int(ends[-1])
        self._others, self._rules, self._covisits = _room_for(total + total // 2 + more)
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes, dtype=np.int64) - sizes, sizes)
        old, new = within + np.repeat(starts, sizes), within + np.repeat(new_starts, sizes)
        self._others[new], self._rules[new], self._covisits[new] = others[old], rules[old], covisits[old]
        starts[:], rooms[:], used[0] = new_starts, new_rooms, total


def _room_for(n: int) -> tuple[Int32s, Floats, Floats]:
    return np.zeros(n, np.int32), np.zeros(n, np.float32), np.zeros(n, np.float32)


@inline
def begin_run(row: int, n: int, links: LinkArrays) -> int:
    """Make room for an item's run of n links, for which room is reserved, in place of the one before; say where."""
    if links.rooms[row] < n:
        links.starts[row] = links.used[0]
        links.rooms[row] = max(n + n // 4, LEAST_ROOM)
        links.used[0] += links.rooms[row]
    links.sizes[row] = n
    links.rule_totals[row] = 0.0
    return int(links.starts[row])


@kernel
def mark_mentioned(
    links: LinkArrays,
    counting: Bools,  # (n,) the first rows: whose links count
    mentioned: Bools,  # (n,) set where one of those leads to the row
) -> None:
    """Mark the rows that others lead to."""
    for row in range(len(counting)):
        if counting[row]:
            for p in range(links.starts[row], links.starts[row] + links.sizes[row]):
                mentioned[links.others[p]] = True
