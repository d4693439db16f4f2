import pytest

from models.counts.sessions import NewestSessions
from models.counts.transitions import STEPS, Contribution
from models.items.sessions import LENGTH
from tests import places
from tests.models.counts.builders import NOW

N_PLACES = 10
GOLDEN = places.GOLDEN / "sessions_v2.bin"
GOLDEN_OF_ELEVEN_ITEMS = places.GOLDEN / "sessions_v1.bin"


def a_step(item: int, *before: int, user: int = 1, at: int = NOW) -> Contribution:
    """An act on an item after some others of its session, newest first."""
    previous, further_back = before[:STEPS], before[STEPS:]
    return Contribution(item, f"i-{item}", at, 1.0, user, ("all",), previous, further_back=further_back)


def after(*steps: Contribution) -> NewestSessions:
    sessions = NewestSessions(N_PLACES)
    sessions.learn(steps)
    return sessions


def test_a_session_is_published_whole_and_once():
    sessions = after(a_step(7), a_step(8, 7, at=NOW + 1))
    [row] = sessions.take_changed()
    assert (row.number, row.items, row.user, row.last_at) == (1, (7, 8), 1, NOW + 1)
    assert not sessions.changed


def test_only_the_newest_items_of_a_long_session_are_kept():
    path = range(1, 31)
    [row] = after(a_step(30, *path[:-1][::-1])).take_changed()
    assert row.items == tuple(path[-LENGTH:])


def test_neither_the_order_of_arrival_nor_batches_change_what_is_published():
    steps = [a_step(7), a_step(8, 7, at=NOW + 1), a_step(9, 8, 7, at=NOW + 2), a_step(5, user=3)]
    assert after(*steps).take_changed() == after(*steps[::-1]).take_changed()


def test_acts_of_one_moment_follow_each_other():
    path = list(range(1, LENGTH))
    [row] = after(a_step(9, *path[1:][::-1]), a_step(8, 9, *path[1:][::-1])).take_changed()
    assert row.items == (*path[1:], 9, 8)


def test_of_two_users_who_share_a_number_the_session_of_the_one_who_acted_last_is_kept():
    [row] = after(a_step(7, user=1, at=NOW + 1), a_step(8, user=11)).take_changed()
    assert (row.user, row.number) == (1, 1)


def test_what_waits_is_still_there_after_a_restart_unless_its_number_has_changed():
    sessions = after(a_step(7, 6, 5), a_step(8, user=13))
    assert NewestSessions.unpack(sessions.pack(), N_PLACES).take_changed() == sessions.take_changed()
    moved = NewestSessions.unpack(after(a_step(7, user=1), a_step(8, user=13)).pack(), 7)
    assert [row.user for row in moved.take_changed()] == [1]


def golden() -> NewestSessions:
    """Make the state of the golden file, which was written once by `GOLDEN.write_bytes(golden().pack())`."""
    return after(a_step(7, 6, 5), a_step(8, user=13), a_step(9, *range(20, 46), user=4, at=NOW + 5))


def test_state_of_an_older_release_still_loads():
    assert NewestSessions.unpack(GOLDEN.read_bytes(), N_PLACES).take_changed() == golden().take_changed()


def test_state_of_sessions_of_eleven_items_still_loads_and_gives_way_to_what_comes():
    sessions = NewestSessions.unpack(GOLDEN_OF_ELEVEN_ITEMS.read_bytes(), N_PLACES)
    sessions.learn([a_step(4, 3, user=4, at=NOW + 5)])
    kept = {row.user: row.items for row in sessions.take_changed()}
    assert kept == {1: (5, 6, 7), 13: (8,), 4: (3, 4)}


def test_state_of_a_newer_release_is_refused():
    with pytest.raises(ValueError, match="format 3"):
        NewestSessions.unpack(b"\x03" + golden().pack()[1:], N_PLACES)


@pytest.mark.parametrize("n_places", [0, (1 << 22) + 1])
def test_a_number_of_places_that_no_table_takes_is_refused(n_places: int):
    with pytest.raises(ValueError, match="places for sessions"):
        NewestSessions(n_places)
