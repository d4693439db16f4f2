"""The index of recent sessions, against one that is rebuilt each time."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.items import ItemTable
from models.items.sessions import LENGTH, SessionIndex
from models.items.wire import SessionRow
from models.numeric.ids import hash64
from tests.models.builders import NOW, ASession, an_index, put_sessions

ROWS = {name: row for row, name in enumerate("abcdef")}
SESSIONS = st.builds(
    ASession,
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=LENGTH),
    st.sampled_from(["u", "v"]),
    st.integers(NOW, NOW + 3),
)


def holders(index: SessionIndex, item: str) -> list[tuple[int, int]]:
    """Number of each session that holds an item, the newest first, and the item's position in it."""
    runs, row = index.holders.arrays, ROWS[item]
    nodes = runs.cells[runs.starts[row] :][: runs.sizes[row]]
    return [divmod(int(node), LENGTH) for node in reversed(nodes)]


def contents(index: SessionIndex) -> Any:
    held = {number: items[:n].tolist() for number, (*_, n, items) in enumerate(index.records) if n}
    return held, [holders(index, item) for item in ROWS], index.n


@settings(max_examples=100, deadline=None)
@given(puts=st.lists(st.dictionaries(st.integers(0, 9), SESSIONS, min_size=1, max_size=5), max_size=8))
def test_a_changed_index_is_the_one_that_would_be_made_of_what_it_holds(puts: list[dict[int, ASession]]):
    index, held = an_index(ROWS, []), dict[int, ASession]()
    for version, sessions in enumerate(puts, 1):
        put_sessions(index, ROWS, sessions, version)
        held |= sessions
    anew = an_index(ROWS, [])
    if held:
        put_sessions(anew, ROWS, held)
    assert contents(index) == contents(anew)


@given(sessions=st.lists(SESSIONS, max_size=12))
def test_each_item_leads_to_its_sessions_newest_first_and_to_where_it_stands_last(sessions: list[ASession]):
    index = an_index(ROWS, sessions)
    for item in ROWS:
        those = [number for number, session in enumerate(sessions) if item in session.items]
        those.sort(key=lambda number: (-sessions[number].last_at, number))
        last = [len(sessions[number].items) - 1 - sessions[number].items[::-1].index(item) for number in those]
        assert holders(index, item) == list(zip(those, last, strict=True))


def test_an_older_or_repeated_version_changes_nothing():
    index = an_index(ROWS, [ASession(["a", "b"])])
    before = contents(index)
    assert put_sessions(index, ROWS, {0: ASession(["c"])}, version=1) == 0
    assert contents(index) == before
    assert put_sessions(index, ROWS, {0: ASession(["c"])}, version=2) == 1
    assert contents(index) != before


def a_row(number: int, *items: str, version: int = 1) -> tuple[bytes, bytes]:
    row = SessionRow(number, version=version, last_at=NOW, user=hash64("u"), items=tuple(map(hash64, items)))
    return f"sessions/{number}".encode(), row.pack()


def test_rows_of_sessions_reach_the_table_and_tombstones_take_them_away():
    table = ItemTable(NOW)
    key, value = a_row(7, "a", "b")
    assert table.apply_rows([key], [value]) == 1
    row = int(table.rows_of(np.array([hash64("b")]))[0])
    session = table.sessions.records[7]
    assert session["items"][1] == row
    assert (session["owner"], session["last_at"], table.learned_until) == (hash64("u"), NOW, NOW)
    assert table.apply_rows([key], [value]) == 0
    assert table.apply_rows([key], [None]) == 1
    assert table.sessions.n == table.sessions.holders.arrays.sizes[row] == 0


@pytest.mark.parametrize(
    "spoiled",
    [
        (b"sessions/x", a_row(7, "a")[1]),
        (b"sessions/4194304", a_row(4_194_304, "a")[1]),
        (b"sessions/8", a_row(7, "a")[1]),
        (b"sessions/7", a_row(7, "a")[1][:-8]),
        (b"sessions/7", a_row(7, "a")[1][:-8] + bytes(8)),
    ],
    ids=["no number", "too high a number", "another session's row", "too short", "an item without a hash"],
)
def test_a_malformed_session_is_refused_with_its_key_and_nothing_is_applied(spoiled: tuple[bytes, bytes]):
    table = ItemTable(NOW)
    sound = a_row(1, "a")
    with pytest.raises(ValueError, match=spoiled[0].decode()):
        table.apply_rows([sound[0], spoiled[0]], [sound[1], spoiled[1]])
    assert table.sessions.n == 0
