from models.items.sessions import LENGTH
from models.learning.sessions import SessionRow, Sessions, SessionsConfig
from models.learning.transitions import Contribution
from tests.models.learning.builders import NOW


def a_step(item: int, *previous: int, user: int = 1, at: int = NOW) -> Contribution:
    """An act on an item after some others, newest first."""
    return Contribution(item, f"i-{item}", at, 1.0, user, ("all",), previous)


def a_ring(n: int = 3, shard: int = 2) -> Sessions:
    return Sessions(shard, SessionsConfig(n_shards=10, n_per_shard=n))


def items(rows: list[SessionRow]) -> dict[int, list[int]]:
    return {row.number: row.items.tolist() for row in rows}


def test_a_session_grows_under_its_number_and_is_published_whole():
    sessions = a_ring()
    sessions.learn([a_step(7), a_step(8, 7)])
    assert items(sessions.take_changed()) == {2: [7, 8]}
    assert not sessions.changed
    sessions.learn([a_step(9, 8, 7)])
    [row] = sessions.take_changed()
    assert (row.number, row.items.tolist(), row.user, row.last_at) == (2, [7, 8, 9], 1, NOW)


def test_versions_rise_whatever_is_published():
    sessions = a_ring()
    sessions.learn([a_step(7), a_step(8, user=2), a_step(9, 7)])
    rows = {row.number: row.version for row in sessions.take_changed()}
    assert rows == {2: 3, 12: 2}


def test_only_the_newest_items_of_a_long_session_are_kept():
    sessions = a_ring()
    path = list(range(1, 31))
    sessions.learn([a_step(item, *path[max(0, p - 10) : p][::-1]) for p, item in enumerate(path)])
    [row] = sessions.take_changed()
    assert row.items.tolist() == path[-LENGTH:]


def test_what_does_not_go_on_from_the_users_newest_session_begins_another():
    sessions = a_ring()
    sessions.learn([a_step(7), a_step(8), a_step(9, 7)])
    assert items(sessions.take_changed()) == {2: [7], 12: [8], 22: [7, 9]}


def test_a_new_session_takes_the_number_of_the_one_that_began_longest_ago():
    sessions = a_ring(2)
    sessions.learn([a_step(7), a_step(8, user=2), a_step(9, user=3)])
    assert items(sessions.take_changed()) == {2: [9], 12: [8]}
    sessions.learn([a_step(6, 7), a_step(5, 9, user=3)])
    assert items(sessions.take_changed()) == {2: [9, 5], 12: [7, 6]}


def test_a_restored_ring_goes_on_as_the_one_that_was_packed():
    before = a_ring()
    before.learn([a_step(n, user=n % 3) for n in range(1, 8)])
    after = Sessions.unpack(before.pack(), SessionsConfig(10, 3))
    for sessions in (before, after):
        sessions.learn([a_step(20, 7, user=1), a_step(21, user=9)])
    published = [
        [(row.number, row.version, row.last_at, row.user, row.items.tolist()) for row in sessions.take_changed()]
        for sessions in (before, after)
    ]
    assert published[0] == published[1]


def test_another_number_of_sessions_begins_the_ring_anew_above_the_old_versions():
    sessions = a_ring()
    sessions.learn([a_step(7), a_step(8, 7)])
    anew = Sessions.unpack(sessions.pack(), SessionsConfig(10, 5))
    anew.learn([a_step(9)])
    [row] = anew.take_changed()
    assert (row.items.tolist(), row.version) == ([9], 3)
