"""Windows on any events, in any order: equal to Bytewax's operators and to a plain reading of the rules."""

import operator
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, SessionWindower, SlidingWindower, fold_window
from bytewax.testing import TestingSink, TestingSource, run_main
from hypothesis import example, given
from hypothesis import strategies as st

from models.numeric.windows import MAX_PLATFORM_SESSIONS, Session, SessionWindows, SlidingWindow
from tests.models.numeric.builders import windows_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Stream = list[tuple[str, int]]
"""(user, time) in the order of arrival."""


@st.composite
def times(draw: st.DrawFn, max_size: int = 40) -> list[int]:
    """Times scattered around the newest so far, so that the edges of gap, lateness and pane are all met."""
    newest, drawn = draw(st.integers(0, 100)), []
    for step in draw(st.lists(st.integers(-30, 15), max_size=max_size)):
        drawn.append(max(0, newest + step))
        newest = max(newest, drawn[-1])
    return drawn


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """Events of two users, interleaved."""
    users = {"ann": draw(times()), "bob": draw(times())}
    turns = draw(st.permutations([user for user, drawn in users.items() for _ in drawn]))
    upcoming = {user: iter(drawn) for user, drawn in users.items()}
    return [(user, next(upcoming[user])) for user in turns]


gaps = st.integers(1, 12)
latenesses = st.integers(0, 25)
batchings = st.tuples(st.integers(1, 8), st.booleans())
"""(events a batch, whether Bytewax sorts them before they meet its windows)"""


def at_utc(at: int) -> datetime:
    return EPOCH + timedelta(milliseconds=at)


def to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def bytewax_windows(
    stream: Stream, windower: Any, lateness_ms: int, batching: tuple[int, bool]
) -> tuple[list[tuple[str, int, int, int]], set[int]]:
    """Run Bytewax to the end of the stream, where it flushes every window.

    Returns
    -------
    Each window as (user, open time, close time, events), sorted, and which events of the stream were late.
    """
    clock: EventClock[tuple[int, int]] = EventClock(
        ts_getter=lambda numbered: at_utc(numbered[1]),
        wait_for_system_duration=timedelta(milliseconds=lateness_ms),
        # Its watermark also moves with the system's time; here that time stands still.
        now_getter=lambda: EPOCH,
        to_system_utc=lambda _: None,
    )
    batch_size, ordered = batching
    counts: list[Any] = []
    metas: list[Any] = []
    lates: list[Any] = []
    flow = Dataflow("oracle")
    numbered = [(user, (i, at)) for i, (user, at) in enumerate(stream)]
    events = op.input("events", flow, TestingSource(numbered, batch_size))
    windows = fold_window(
        "windows", events, clock, windower, lambda: 0, lambda n, _: n + 1, operator.add, ordered=ordered
    )
    op.output("counts", windows.down, TestingSink(counts))
    op.output("metas", windows.meta, TestingSink(metas))
    op.output("lates", windows.late, TestingSink(lates))
    run_main(flow)
    n_of = {(user, window): n for user, (window, n) in counts}
    found = [
        (user, to_ms(meta.open_time), to_ms(meta.close_time), n_of[user, window]) for user, (window, meta) in metas
    ]
    assert len(n_of) == len(counts) == len(metas)
    return sorted(found), {i for _, (_, (i, _)) in lates}


def our_sessions(stream: Stream, gap_ms: int, lateness_ms: int) -> tuple[list[tuple[str, int, int, int]], set[int]]:
    users: dict[str, SessionWindows] = defaultdict(lambda: SessionWindows(gap_ms, lateness_ms))
    found, late = [], set()
    for i, (user, at) in enumerate(stream):
        found += [(user, session) for session in users[user].close(at)]
        if users[user].place(at) is None:
            late.add(i)
    found += [(user, session) for user, windows in users.items() for session in windows.open]
    return sorted((user, s.started_at, s.last_at, s.n) for user, s in found), late


def our_sliding(stream: Stream, length_ms: int, slide_ms: int, lateness_ms: int) -> list[tuple[str, int, int, int]]:
    users: dict[str, SlidingWindow] = defaultdict(lambda: SlidingWindow(length_ms, slide_ms, lateness_ms))
    found: dict[tuple[str, int], int] = {}
    for user, at in stream:
        users[user].add(at)
        found |= {(user, start_at): n for start_at, n in windows_of(users[user])}
    return sorted((user, start_at, start_at + length_ms, n) for (user, start_at), n in found.items())


@given(streams(), gaps, latenesses, batchings)
@example([("ann", 50), ("ann", 45), ("ann", 40), ("ann", 55)], 5, 10, (4, False))
def test_sessions_and_late_events_equal_those_of_bytewax(
    stream: Stream, gap_ms: int, lateness_ms: int, batching: tuple[int, bool]
):
    windower = SessionWindower(gap=timedelta(milliseconds=gap_ms))
    oracle = bytewax_windows(stream, windower, lateness_ms, batching)
    assert our_sessions(stream, gap_ms, lateness_ms) == oracle


@given(streams(), st.integers(1, 12), st.integers(1, 5), latenesses, batchings)
def test_sliding_windows_equal_those_of_bytewax(
    stream: Stream, slide_ms: int, n_panes: int, lateness_ms: int, batching: tuple[int, bool]
):
    length_ms = slide_ms * n_panes
    windower = SlidingWindower(
        length=timedelta(milliseconds=length_ms), offset=timedelta(milliseconds=slide_ms), align_to=EPOCH
    )
    oracle, _ = bytewax_windows(stream, windower, lateness_ms, batching)
    assert our_sliding(stream, length_ms, slide_ms, lateness_ms) == oracle


tagged_times = times().flatmap(
    lambda drawn: st.tuples(*(st.tuples(st.just(at), st.sampled_from([0, 0, 7, 8, 9])) for at in drawn))
)


@given(tagged_times, gaps, latenesses)
def test_platform_sessions_hold_exactly_the_events_that_name_them_and_leave_the_others_to_the_gap(
    events: tuple[tuple[int, int], ...], gap_ms: int, lateness_ms: int
):
    windows = SessionWindows(gap_ms, lateness_ms)
    found, on_time, newest = [], defaultdict(list), 0
    for at, session_hash in events:
        found += windows.close(at)
        late = at < newest - lateness_ms
        assert (windows.place(at, session_hash) is None) is late
        if not late:
            on_time[session_hash].append(at)
        newest = max(newest, at)
    expected = [Session(min(ats), max(ats), len(ats), key) for key, ats in on_time.items() if key and ats]
    runs: list[list[int]] = []
    for at in sorted(on_time[0]):
        if runs and at - runs[-1][-1] <= gap_ms:
            runs[-1].append(at)
        else:
            runs.append([at])
    expected += [Session(run[0], run[-1], len(run)) for run in runs]
    order = operator.attrgetter("session_hash", "started_at")
    assert sorted(found + windows.open, key=order) == sorted(expected, key=order)


@given(tagged_times, gaps, latenesses)
def test_packing_or_closing_between_two_events_changes_nothing(
    events: tuple[tuple[int, int], ...], gap_ms: int, lateness_ms: int
):
    windows = restored = SessionWindows(gap_ms, lateness_ms)
    for at, session_hash in events:
        restored = SessionWindows.unpack(restored.pack(), gap_ms, lateness_ms)
        restored.close(at)
        assert restored.place(at, session_hash) == windows.place(at, session_hash)
        assert restored.open == windows.open
        assert restored.current == windows.current


@given(times(), gaps, latenesses, st.lists(st.integers(1, 20), min_size=40, max_size=40))
def test_the_open_sessions_are_ordered_and_bounded(drawn: list[int], gap_ms: int, lateness_ms: int, hashes: list[int]):
    windows = SessionWindows(gap_ms, lateness_ms)
    for at, session_hash in zip(drawn, hashes, strict=False):
        windows.place(at, session_hash if session_hash > 10 else 0)
        kinds = Counter(bool(session.session_hash) for session in windows.open)
        assert kinds[True] <= MAX_PLATFORM_SESSIONS
        assert kinds[False] <= 2 + lateness_ms // gap_ms
        assert all(a.started_at <= b.started_at for a, b in pairwise(windows.open))
        assert windows.current
        assert windows.current.last_at == windows.newest_at == max(s.last_at for s in windows.open)


@given(times(), st.integers(1, 12), st.integers(1, 5), latenesses, st.integers(-25, 200))
def test_a_count_is_that_of_the_events_in_the_window_that_ends_with_the_pane(
    drawn: list[int], slide_ms: int, n_panes: int, lateness_ms: int, offset: int
):
    window = SlidingWindow(slide_ms * n_panes, slide_ms, lateness_ms)
    on_time: list[int] = []
    for at in drawn:
        window.add(at)
        if at >= max(on_time, default=0) - lateness_ms:
            on_time.append(at)
    at = window.newest_at + max(offset, -lateness_ms)
    end = (at // slide_ms + 1) * slide_ms
    assert window.count(at) == sum(end - slide_ms * n_panes <= one < end for one in on_time)


@given(times(), st.integers(1, 12), st.integers(1, 5), latenesses)
def test_packing_a_sliding_window_between_two_events_changes_nothing(
    drawn: list[int], slide_ms: int, n_panes: int, lateness_ms: int
):
    window = restored = SlidingWindow(slide_ms * n_panes, slide_ms, lateness_ms)
    for at in drawn:
        restored = SlidingWindow.unpack(restored.pack(), slide_ms * n_panes, slide_ms, lateness_ms)
        restored.add(at)
        window.add(at)
        assert restored.pack() == window.pack()
        assert windows_of(restored) == windows_of(window)
