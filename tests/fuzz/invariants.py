"""What holds of an item table whatever was applied to it."""

import numpy as np

from models.items import ItemTable
from models.items.links import LinkArrays
from models.items.sessions import LENGTH


def check(table: ItemTable) -> None:
    """Check the index by hash, postings, runs of sessions, and all weights of a table.

    Raises
    ------
    AssertionError : one of them is not what the rest of the table says.
    """
    n = table.n
    assert len(table.ids) == len(table.titles) == n
    hashes = table.hashes[:n]
    assert len(np.unique(hashes)) == n, "two rows have one hash"
    assert (table.rows_of(hashes) == np.arange(n)).all(), "a hash leads to another row"
    assert np.isfinite(table.popularity[:n]).all(), "a popularity is no number"
    for kind in (table.links, table.habits):
        _check_links(kind.arrays, n)
    _check_postings(table)
    _check_sessions(table)


def _check_links(links: LinkArrays, n: int) -> None:
    used = int(links.used[0])
    for weights in (links.rules[:used], links.covisits[:used], links.rule_totals[:n]):
        assert np.isfinite(weights).all(), "a weight is no number"
    taken = np.zeros(used, np.int64)
    for row in range(n):
        run = links.of(row)
        assert (links.others[run] < n).all(), "a link leads to no row"
        assert links.sizes[row] <= links.rooms[row], "a run is longer than its block"
        taken[run] += 1
    assert taken.max(initial=0) <= 1, "two runs overlap"


def _check_postings(table: ItemTable) -> None:
    posted, postings = table.posted[: table.n], table.postings
    carried = np.bincount(posted[posted >= 0], minlength=len(postings.n_items))
    assert (carried == postings.n_items).all(), "a list counts other items than those that carry its attribute"
    for lists in (postings.newest, postings.popular):
        for number in np.flatnonzero(carried).tolist():
            rows = lists[number][lists[number] >= 0]
            assert len(rows) == min(carried[number], lists.shape[1]), "a list is not full, though it could be"
            assert len(np.unique(rows)) == len(rows), "a row stands in a list twice"
            assert (posted[rows] == number).any(axis=1).all(), "a row stands in a list that it does not carry"


def _check_sessions(table: ItemTable) -> None:
    records, runs = table.sessions.records, table.sessions.holders.arrays
    assert int((records["length"] > 0).sum()) == table.sessions.n
    expected: dict[int, set[int]] = {}
    for session in np.flatnonzero(records["length"]).tolist():
        items = records[session]["items"][: records[session]["length"]].tolist()
        for position, item in enumerate(items):
            if item not in items[position + 1 :]:
                expected.setdefault(item, set()).add(session * LENGTH + position)
    for item in range(table.n):
        start, size = int(runs.starts[item]), int(runs.sizes[item])
        nodes = runs.cells[start : start + size].tolist()
        assert set(nodes) == expected.get(item, set()), "a run holds other sessions than those with its item"
        keys = [(int(records[node // LENGTH]["last_at"]), -(node // LENGTH)) for node in nodes]
        assert keys == sorted(keys), "a run is not in order"
