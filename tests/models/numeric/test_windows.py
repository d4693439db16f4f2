"""Sessions and sliding windows on events worked by hand: the gap is 30 ms, the lateness 10 ms."""

import pytest

from models.numeric.windows import MAX_PLATFORM_SESSIONS, PLATFORM_SILENCE_MS, Session, SessionWindows, SlidingWindow
from tests.models.numeric.builders import windows_of

DAY = 24 * 60 * 60 * 1000
NOON = 20_000 * DAY + DAY // 2


def sessions_of(gap_ms: int = 30, lateness_ms: int = 10) -> SessionWindows:
    return SessionWindows(gap_ms, lateness_ms)


def placed(*events: tuple[int, int] | int, gap_ms: int = 30, lateness_ms: int = 10) -> SessionWindows:
    """Place each event, a time or a (time, session hash), and expect that none is late."""
    windows = sessions_of(gap_ms, lateness_ms)
    for event in events:
        at, session_hash = event if isinstance(event, tuple) else (event, 0)
        assert windows.place(at, session_hash)
    return windows


def counted(*times: int, length_ms: int = 60, slide_ms: int = 20, lateness_ms: int = 10) -> SlidingWindow:
    window = SlidingWindow(length_ms, slide_ms, lateness_ms)
    for at in times:
        window.add(at)
    return window


def test_an_event_at_the_edge_of_the_lateness_is_placed_and_one_before_it_is_late():
    windows = placed(1000, gap_ms=30, lateness_ms=10)
    assert windows.place(990) == Session(990, 1000, 2)
    assert windows.place(989) is None
    assert windows.open == [Session(990, 1000, 2)]


def test_a_pause_as_long_as_the_gap_goes_on_with_the_session_and_a_longer_one_ends_it():
    assert placed(1000, 1030).open == [Session(1000, 1030, 2)]
    assert placed(1000, 1031).open == [Session(1000, 1000, 1), Session(1031, 1031, 1)]


def test_an_event_as_far_before_a_session_as_the_gap_moves_its_start():
    assert placed(1000, 970, lateness_ms=50).open == [Session(970, 1000, 2)]
    assert placed(1000, 969, lateness_ms=50).open == [Session(969, 969, 1), Session(1000, 1000, 1)]


def test_an_event_between_two_sessions_merges_them():
    windows = placed(1000, 1010, 1060, 1070, lateness_ms=50)
    assert windows.open == [Session(1000, 1010, 2), Session(1060, 1070, 2)]
    assert windows.place(1035) == Session(1000, 1070, 5)
    assert windows.open == [Session(1000, 1070, 5)]
    assert windows.current == Session(1000, 1070, 5)


def test_an_event_that_names_a_session_joins_it_whatever_the_gap():
    windows = placed((NOON, 7), (NOON + DAY // 2, 7))
    assert windows.open == [Session(NOON, NOON + DAY // 2, 2, 7)]


def test_platform_sessions_run_side_by_side_and_never_merge():
    windows = placed((1000, 7), (1001, 8), 1002, (1003, 7))
    assert windows.open == [Session(1000, 1003, 2, 7), Session(1001, 1001, 1, 8), Session(1002, 1002, 1)]


def test_an_early_event_reorders_the_open_sessions():
    windows = placed((1000, 7), (1005, 8), (998, 8))
    assert windows.open == [Session(998, 1005, 2, 8), Session(1000, 1000, 1, 7)]


def test_one_platform_session_too_many_closes_the_one_that_has_been_silent_longest():
    assert MAX_PLATFORM_SESSIONS == 4
    windows = placed((1000, 1), (1001, 2), (1002, 3), (1003, 4), 1004, (1005, 1), (1006, 5))
    assert [session.session_hash for session in windows.open] == [1, 3, 4, 0, 5]


def test_the_current_session_holds_the_newest_event_not_the_last_one_placed():
    windows = sessions_of()
    assert windows.current is None
    windows.place(1000, 7)
    windows.place(995, 8)
    assert windows.current == Session(1000, 1000, 1, 7)


def test_an_idle_session_closes_when_the_given_clock_has_passed_its_gap_and_the_lateness():
    windows = placed(1000, gap_ms=30, lateness_ms=10)
    assert windows.close(1040) == []  # an event of 1030 would not be late yet
    assert windows.close(1041) == [Session(1000, 1000, 1)]
    assert windows.open == []
    assert windows.current is None
    assert windows.close(2000) == []


def test_a_clock_behind_the_events_closes_what_the_events_close():
    windows = SessionWindows.unpack(placed(1000, 1031, lateness_ms=50).pack(), gap_ms=30, lateness_ms=0)
    assert windows.close(0) == [Session(1000, 1000, 1)]
    assert windows.open == [Session(1031, 1031, 1)]


def test_an_event_held_up_until_the_clock_had_closed_its_session_begins_a_new_one():
    windows = placed(1000)
    windows.close(5000)
    assert windows.place(1005) == Session(1005, 1005, 1)
    assert windows.newest_at == 1005


def test_a_silent_platform_session_closes_after_a_day_and_the_lateness():
    assert PLATFORM_SILENCE_MS == DAY
    windows = placed((NOON, 7), lateness_ms=10)
    assert windows.close(NOON + DAY + 10) == []
    assert windows.close(NOON + DAY + 11) == [Session(NOON, NOON, 1, 7)]


def test_an_event_that_names_a_closed_session_starts_it_over():
    windows = placed((NOON, 7), (NOON + DAY + 11, 7), lateness_ms=10)
    assert windows.open == [Session(NOON + DAY + 11, NOON + DAY + 11, 1, 7)]


def test_a_gap_longer_than_a_day_holds_for_platform_sessions_too():
    windows = placed((NOON, 7), (NOON + 2 * DAY, 7), gap_ms=2 * DAY)
    assert windows.open == [Session(NOON, NOON + 2 * DAY, 2, 7)]
    assert windows.close(NOON + 4 * DAY) == []


def test_placing_forgets_the_sessions_that_its_time_closes():
    assert placed(1000, 1041, gap_ms=30, lateness_ms=10).open == [Session(1041, 1041, 1)]


def test_sessions_pack_into_differences_from_the_newest_event():
    windows = placed((NOON, 7), NOON + 3, NOON + 5)
    assert windows.pack() == (NOON + 5, 5, 0, 1, 7, 0, 2, 2, 0)
    assert SessionWindows.unpack(windows.pack(), 30, 10).open == windows.open


def test_a_new_user_packs_into_one_number():
    assert sessions_of().pack() == (0,)
    assert SessionWindows.unpack((0,), 30, 10).open == []


def test_restored_sessions_still_close_as_events_pass():
    windows = SessionWindows.unpack(placed(1000).pack(), 30, 10)
    windows.place(1041)
    assert windows.open == [Session(1041, 1041, 1)]


def test_half_a_packed_session_is_refused():
    with pytest.raises(ValueError, match="zip"):
        SessionWindows.unpack((1000, 0, 0), 30, 10)


@pytest.mark.parametrize(("gap_ms", "lateness_ms"), [(0, 10), (30, -1)])
def test_a_gap_below_one_and_a_negative_lateness_are_refused(gap_ms: int, lateness_ms: int):
    with pytest.raises(ValueError, match="need at least 1 and 0"):
        SessionWindows(gap_ms, lateness_ms)


def test_windows_start_at_multiples_of_the_slide_since_the_epoch():
    # Panes of 20: 1000-1019 holds two, 1020-1039 one, 1040-1059 one.
    window = counted(1000, 1019, 1020, 1041)
    # The watermark is 1031, so a window that ended at 1020 is past and one that ends at 1040 is not.
    assert windows_of(window) == [(980, 3), (1000, 4), (1020, 2), (1040, 1)]
    assert [window.count(at) for at in (1031, 1041, 1060, 1080, 1100)] == [3, 4, 2, 1, 0]


def test_an_event_at_the_edge_of_the_lateness_is_counted_and_one_before_it_changes_nothing():
    window = counted(1000, 990)
    before = window.pack()
    for late in (989, 940, 0):
        window.add(late)
    assert window.pack() == before
    assert window.count(1000) == 2


def test_a_long_pause_empties_the_window_without_growing_it():
    window = counted(1000, 1001, NOON)
    assert window.count(NOON) == 1
    assert window.count(1000) == 0
    assert window.pack() == (NOON, 1)


def test_only_the_panes_of_a_window_and_of_the_lateness_are_kept():
    # 60 / 20 for a window, and one for a lateness of 10.
    assert counted(*range(1000, 2000, 5)).pack() == (1995, 4, 4, 4, 4)


def test_a_count_from_before_the_kept_panes_takes_no_later_events():
    window = counted(1020, 1080)
    assert [window.count(at) for at in (1020, 1000, 980)] == [1, 0, 0]


def test_an_empty_sliding_window_counts_nothing_and_packs_into_one_number():
    window = counted()
    assert window.count(NOON) == 0
    assert windows_of(window) == []
    assert window.pack() == (0,)
    assert SlidingWindow.unpack((0,), 60, 20, 10).count(0) == 0


def test_a_packed_window_fits_a_shorter_length_and_a_longer_lateness():
    packed = counted(1000, 1020, 1021, 1040).pack()
    assert packed == (1040, 1, 2, 1)
    assert SlidingWindow.unpack(packed, 40, 20, 0).count(1040) == 3
    assert SlidingWindow.unpack(packed, 60, 20, 100).count(1020) == 3


@pytest.mark.parametrize(("length_ms", "slide_ms", "lateness_ms"), [(50, 20, 0), (0, 20, 0), (60, 0, 0), (60, 20, -1)])
def test_a_length_that_the_slide_does_not_divide_and_negative_times_are_refused(
    length_ms: int, slide_ms: int, lateness_ms: int
):
    with pytest.raises(ValueError, match="multiple of the slide"):
        SlidingWindow(length_ms, slide_ms, lateness_ms)
