import struct

import numpy as np
import pytest

from models.items import ItemTable
from models.items.wire import ContentRow
from models.numeric.ids import hash64
from tests.models.items.builders import NOW, a_row, a_trend

LAST_TIME = 2**53 - 1


def changed(row: bytes, word: int, value: int) -> bytes:
    return row[: 8 * word] + struct.pack("<q", value) + row[8 * word + 8 :]


def weighing(value: float) -> bytes:
    return a_row("a", neighbours=("b",), weight=value)


ROW = a_row("a", neighbours=("b",))
MALFORMED = {
    "empty": (b"neighbours/a", b""),
    "short": (b"neighbours/a", b"short"),
    "no format": (b"neighbours/a", bytes(64)),
    "cut": (b"neighbours/a", ROW[:-8]),
    "too long": (b"neighbours/a", ROW + bytes(8)),
    "no whole word": (b"neighbours/a", ROW + bytes(1)),
    "a negative number of entries": (b"neighbours/a", changed(ROW, 0, -(1 << 16) | 1 << 8 | 1)),
    "a format of the future": (b"neighbours/a", changed(ROW, 0, 1 << 16 | 3 << 8 | 1)),
    "habits that are not there": (b"neighbours/a", changed(changed(ROW, 0, 1 << 16 | 2 << 8 | 1), 7, 1)),
    "habits of a format without": (b"neighbours/a", changed(ROW, 7, 1)),
    "fewer habits than none": (b"neighbours/a", changed(ROW, 7, -1)),
    "another item": (b"neighbours/a", a_row("b")),
    "another table": (b"content/a", ROW),
    "a negative version": (b"neighbours/a", a_row("a", version=-1)),
    "a time before 1970": (b"neighbours/a", a_row("a", at=-1)),
    "a time after all time": (b"neighbours/a", a_row("a", at=LAST_TIME + 1)),
    "an infinite weight": (b"neighbours/a", weighing(np.inf)),
    "a weight that is no number": (b"neighbours/a", weighing(np.nan)),
    "a neighbour without a hash": (b"neighbours/a", changed(ROW, 8, 0)),
    "a vector of another length": (b"content/a", ContentRow("a", 1, np.ones(8, np.int8)).pack()),
    "another segment": (b"trending/a/0", a_trend("b", {"b": 1.0})),
    "another shard": (b"trending/a/1", a_trend("a", {"b": 1.0})),
    "a trend that is no number": (b"trending/a/0", a_trend("a", {"b": np.nan})),
    "no shard": (b"trending/a", None),
    "a shard that is no number": (b"trending/a/b", None),
    "a shard of more digits than Python reads": (b"trending/a/" + b"7" * 4_301, None),
    "a session of more digits than Python reads": (b"sessions/" + b"1" * 4_301, None),
    "no such table": (b"ranker/a", None),
    "no name": (b"neighbours/", None),
    "no UTF-8": (b"neighbours/\xff", None),
}


@pytest.mark.parametrize(("key", "value"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_row_refuses_its_whole_call_and_is_named(key: bytes, value: bytes | None):
    table = ItemTable(NOW)
    table.apply_rows([b"neighbours/old"], [a_row("old")])
    with pytest.raises(ValueError, match=key.decode(errors="ignore")):
        table.apply_rows(
            [b"neighbours/good", b"trending/all/0", b"neighbours/old", key],
            [a_row("good", neighbours=("old",)), a_trend("all", {"good": 1.0}), None, value],
        )
    assert (table.n, table.ids, table.n_applied, table.learned_until) == (1, ["old"], 1, NOW)
    assert table.popularity[0].tolist() == [1.0, 2.0]
    assert len(table.trending(hash64("all"))[0]) == 0


def test_the_last_moment_that_a_message_can_have_is_a_time():
    table = ItemTable(LAST_TIME)
    assert table.apply_rows([b"neighbours/a"], [a_row("a", at=LAST_TIME)]) == 1
