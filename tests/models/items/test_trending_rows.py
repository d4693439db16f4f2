import numpy as np

from models.candidates.selection import USABLE, Allowed
from models.candidates.trending import Trending
from models.items import ItemTable
from models.numeric.ids import hash64
from models.query.batch import QueryBatch
from models.strategy import Strategy
from models.user.query import Query
from tests.models.builders import no_candidates
from tests.models.items.builders import NOW, a_trend, row_of

IDS = [f"i-{n}" for n in range(20)]


def a_table_of_trends() -> ItemTable:
    """Of one row to begin with, so that the items that trend do not fit."""
    table = ItemTable(NOW, capacity=1)
    row = a_trend("all", dict(zip(IDS, range(20, 0, -1), strict=True)))
    assert table.apply_rows([b"trending/all/0"], [row]) == 1
    return table


def test_asking_what_trends_changes_nothing_since_arrays_of_the_table_are_in_use_meanwhile():
    table = a_table_of_trends()
    n, available = table.n, table.available
    rows, weights = table.trending(hash64("all"))
    assert table.hashes[rows].tolist() == [hash64(name) for name in IDS]
    assert weights.tolist() == list(range(20, 0, -1))
    assert table.n == n
    assert table.available is available


def test_an_item_that_trends_before_its_own_row_has_no_name_yet():
    table = a_table_of_trends()
    rows, _ = table.trending(hash64("all"))
    assert not table.named[rows].any()
    assert [table.ids[row] for row in rows] == [""] * 20


def test_segments_that_nobody_learned_are_answered_and_leave_nothing_behind():
    table = ItemTable(NOW)
    table.apply_rows([b"trending/all/0"], [a_trend("all", {"a": 1.0})])
    everybody = hash64("all")
    for n in range(50):
        batch = QueryBatch.from_queries([Query("u", "event", "e", NOW, Strategy(), segments=(1 + n, everybody))], table)
        found = no_candidates(1, 5)
        flags = np.full(table.n, USABLE)
        allowed = Allowed(flags, int(USABLE), batch.marks.starts, batch.marks.rows, table.hashes)
        Trending().generate(batch, table, allowed, found)
        assert found.rows[0, 0] == row_of(table, "a")
    assert len(table._derived) == 2  # what trends among all, and what expires
    assert len(table._trends._merged) == 1
