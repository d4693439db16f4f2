"""Acts as arrays: the order of profiles, and windows that leave none out."""

from hypothesis import given
from hypothesis import strategies as st

from models.events import EventConfig
from models.messages import Event
from models.numeric.ids import hash64
from models.sequence.acts import Acts, Windows


def an_event(item: str, at: int, user: str = "u", event_type: str = "click") -> Event:
    return Event(f"{user}-{item}-{at}", user, item, event_type, at)


def test_acts_stand_by_user_and_time_and_what_is_no_act_is_left_out():
    events = [an_event("b", 2), an_event("c", 1, "v"), an_event("a", 1), an_event("d", 3, event_type="impression")]
    acts = Acts.of_events(events, EventConfig())
    assert acts.n_users == 2
    assert acts.items[acts.of_user(0)].tolist() == [hash64("a"), hash64("b")]
    assert acts.at.tolist() == [1, 2, 1]


def test_before_a_moment_users_without_an_act_stay_users():
    acts = Acts.of_users([[(1, 10), (5, 11)], [(7, 12)], [(2, 13)]])
    earlier = acts.before(5)
    assert earlier.items.tolist() == [10, 13]
    assert earlier.starts.tolist() == [0, 1, 1, 2]


@given(lengths=st.lists(st.integers(0, 40), max_size=6), length=st.integers(2, 9))
def test_each_act_but_a_users_first_is_predicted_once(lengths: list[int], length: int):
    users, number = [], 1
    for n in lengths:
        users.append([(at, number + at) for at in range(n)])
        number += n
    acts = Acts.of_users(users)
    windows = Windows.cut(acts, acts.items, length)
    predicted = [item for row, n in zip(windows.items, windows.lengths, strict=True) for item in row[1:n].tolist()]
    firsts = {own[0][1] for own in users if own}
    assert sorted(predicted) == sorted(item for item in acts.items.tolist() if item not in firsts)
    assert (windows.lengths <= length).all()
    assert (windows.lengths >= 2).all()


def test_windows_are_padded_behind():
    acts = Acts.of_users([[(1, 10), (2, 11)], [(1, 12), (2, 13), (3, 14)]])
    windows = Windows.of_bounds(acts, acts.items, [(0, 2), (2, 5)])
    assert windows.items.tolist() == [[10, 11, 0], [12, 13, 14]]
    assert windows.at.tolist() == [[1, 2, 0], [1, 2, 3]]
    assert windows.chosen(windows.lengths * 0).items.tolist() == [[10, 11], [10, 11]]
