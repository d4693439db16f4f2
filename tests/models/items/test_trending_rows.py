from models.ids import hash64
from models.items import ItemTable
from tests.models.items.builders import NOW, a_trend

IDS = [f"i-{n}" for n in range(20)]


def a_table_told_what_trends() -> ItemTable:
    """Of one row to begin with, so that the items that trend do not fit."""
    table = ItemTable(NOW, capacity=1)
    row = a_trend("all", dict(zip(IDS, range(20, 0, -1), strict=True)))
    assert table.apply_rows([b"trending/all/0"], [row]) == 1
    return table


def test_asking_what_trends_changes_nothing_since_arrays_of_the_table_are_in_use_meanwhile():
    table = a_table_told_what_trends()
    n, available = table.n, table.available
    rows, weights = table.trending(hash64("all"))
    assert table.hashes[rows].tolist() == [hash64(name) for name in IDS]
    assert weights.tolist() == list(range(20, 0, -1))
    assert table.n == n
    assert table.available is available


def test_an_item_that_trends_before_its_own_row_has_no_name_yet():
    table = a_table_told_what_trends()
    rows, _ = table.trending(hash64("all"))
    assert not table.named[rows].any()
    assert [table.ids[row] for row in rows] == [""] * 20
