"""Event-time windows of one user: sessions, and counts over sliding windows. Exact, out of order, bounded.

Both keep the same rule of lateness: an event older than the newest one by more than `lateness_ms` is late,
one exactly that old is not. Times are integer Unix milliseconds, 0 or later.

What ends a session (`silence_ms`) and who is a bot (`is_bot`) are decided here, for profiles (`models.user.profile`)
and for transitions (`models.counts.transitions`), which differ only in what they see and keep. A profile sees every
event and keeps its open sessions, of which the platform may name four. Transitions see the events whose type has a
weight above 0 and keep the last ten items: an impression prolongs none of their sessions, a dislike makes nobody a bot
for them, and a fifth platform session closes none.
"""

import sys
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Self

MAX_PLATFORM_SESSIONS = 4
"""Platform sessions that one user keeps open side by side: about one a device."""
PLATFORM_SILENCE_MS = 24 * 60 * 60 * 1000
"""A platform session may rest this long: when it goes on, the platform decides and not the gap."""
MINUTE_MS = 60_000
BOT_WINDOW_MS = 5 * MINUTE_MS

_started_at = attrgetter("started_at")
_last_at = attrgetter("last_at")


def silence_ms(session_hash: int, gap_ms: int) -> int:
    """Return the longest pause after which a session still goes on; `session_hash` is 0 where the gap decides."""
    return max(gap_ms, PLATFORM_SILENCE_MS) if session_hash else gap_ms


@dataclass(slots=True)
class Session:
    """A run of one user's events."""

    started_at: int
    last_at: int
    n: int
    """Events placed in it."""
    session_hash: int = 0
    """`hash64` of the platform's session_id; 0 where the gap decides."""


class SessionWindows:
    """Sessions of one user by event time.

    Events without a platform session share a session while no pause between neighbours is longer than the
    gap, in whatever order they arrive. An event that carries a platform session joins exactly that one,
    whatever the gap, and the gap never merges such sessions.

    A session is closed, and forgotten, once only late events could extend it; a platform session, once it has
    been silent for `PLATFORM_SILENCE_MS` (or the gap, where that is longer) and the lateness. So at most
    ``2 + lateness_ms // gap_ms`` sessions found by the gap are open. Of platform sessions at most
    `MAX_PLATFORM_SESSIONS` are: the one that has been silent longest makes room. An event that returns to a
    session after it was closed begins a new one.

    Parameters
    ----------
    gap_ms : longest pause inside a session, at least 1 ms; a pause of exactly this length does not end it.
    lateness_ms : how far an event may lie behind the newest one and still be placed.

    Raises
    ------
    ValueError
        When the gap is below 1 or the lateness below 0.
    """

    __slots__ = ("_next_close_at", "gap_ms", "lateness_ms", "newest_at", "open")

    def __init__(self, gap_ms: int, lateness_ms: int) -> None:
        if gap_ms < 1 or lateness_ms < 0:
            raise ValueError(f"a gap of {gap_ms} ms and a lateness of {lateness_ms} ms: need at least 1 and 0")
        self.gap_ms = gap_ms
        self.lateness_ms = lateness_ms
        self.newest_at = 0
        """Time of the newest event placed; 0 before the first."""
        self.open: list[Session] = []
        """Ordered by `started_at`."""
        self._next_close_at = sys.maxsize

    @property
    def current(self) -> Session | None:
        """The session of the newest event; the one that started last, should two hold such an event."""
        for session in reversed(self.open):
            if session.last_at == self.newest_at:
                return session
        return None

    def place(self, at: int, session_hash: int = 0) -> Session | None:
        """Place one event, in any order, and forget what its time closes.

        A caller who wants the closed sessions calls `close(at)` first; that changes nothing else.

        Returns
        -------
        The event's session, or None when the event is late: ``at < newest_at - lateness_ms``.
        """
        newest_at = self.newest_at
        if at < newest_at - self.lateness_ms:
            return None
        if at > newest_at:
            self.newest_at = at
            if at > self._next_close_at:
                self.close(at)
        if self.open:
            # Nearly every event goes on with the session that started last, and no merge can follow.
            session = self.open[-1]
            if session.session_hash == session_hash and 0 <= at - session.last_at <= self.gap_ms:
                session.last_at = at
                session.n += 1
                return session
        return self._join_by_id(at, session_hash) if session_hash else self._join_by_gap(at)

    def close(self, now_at: int) -> list[Session]:
        """Remove the sessions that nothing can extend any more.

        Parameters
        ----------
        now_at : the given clock's time, which goes on while the user is idle. It closes sessions but makes no
            event late: one that was held up until its session had closed begins a new one.

        Returns
        -------
        The closed sessions, by `started_at`.
        """
        watermark = max(self.newest_at, now_at) - self.lateness_ms
        still_open, closed = [], []
        next_end = sys.maxsize
        for session in self.open:
            end = self._end_of(session)
            if end < watermark:
                closed.append(session)
            else:
                still_open.append(session)
                next_end = min(next_end, end)
        self.open = still_open
        self._next_close_at = next_end + self.lateness_ms
        return closed

    def pack(self) -> tuple[int, ...]:
        """Pack into `newest_at` and four integers a session, times as differences, to keep them small."""
        packed = [self.newest_at]
        for session in self.open:
            age = self.newest_at - session.last_at
            packed += (age, session.last_at - session.started_at, session.n, session.session_hash)
        return tuple(packed)

    @classmethod
    def unpack(cls, values: Sequence[int], gap_ms: int, lateness_ms: int) -> Self:
        """Restore what `pack` returned; the gap and the lateness may have changed since.

        Raises
        ------
        ValueError
            When the values do not end with a whole session.
        """
        windows = cls(gap_ms, lateness_ms)
        windows.newest_at = values[0]
        fields = iter(values[1:])
        for age, duration, n, session_hash in zip(fields, fields, fields, fields, strict=True):
            last_at = windows.newest_at - age
            windows._add(Session(last_at - duration, last_at, n, session_hash))
        return windows

    def _end_of(self, session: Session) -> int:
        """Time of the last event that could still extend a session."""
        return session.last_at + silence_ms(session.session_hash, self.gap_ms)

    def _join_by_id(self, at: int, session_hash: int) -> Session:
        platform = [session for session in self.open if session.session_hash]
        for session in platform:
            if session.session_hash == session_hash:
                return self._extend(session, at)
        if len(platform) == MAX_PLATFORM_SESSIONS:
            self.open.remove(min(platform, key=_last_at))
        return self._add(Session(at, at, 1, session_hash))

    def _join_by_gap(self, at: int) -> Session:
        gap_ms = self.gap_ms
        near = [
            session
            for session in self.open
            if not session.session_hash and session.started_at - gap_ms <= at <= session.last_at + gap_ms
        ]
        if not near:
            return self._add(Session(at, at, 1))
        session, *bridged = near
        for later in bridged:
            session.last_at = later.last_at
            session.n += later.n
            self.open.remove(later)
        return self._extend(session, at)

    def _extend(self, session: Session, at: int) -> Session:
        session.n += 1
        session.last_at = max(session.last_at, at)
        if at < session.started_at:
            session.started_at = at
            self.open.sort(key=_started_at)
        return session

    def _add(self, session: Session) -> Session:
        insort(self.open, session, key=_started_at)
        self._next_close_at = min(self._next_close_at, self._end_of(session) + self.lateness_ms)
        return session


class SlidingWindow:
    """Counts of one user's events in overlapping windows of one length, by event time.

    Each event is counted once, in a pane as wide as the slide and aligned to the Unix epoch; a window is the
    sum of its panes. Only those panes are kept that a window which can still change needs: a window's, and as
    many as the lateness reaches back.

    References
    ----------
    J. Li, D. Maier, K. Tufte, V. Papadimos, P. A. Tucker. No pane, no gain: efficient evaluation of
    sliding-window aggregates over data streams. SIGMOD Record 34(1), 2005.

    Parameters
    ----------
    length_ms : length of a window, a multiple of the slide.
    slide_ms : distance between the starts of neighbouring windows, at least 1 ms.
    lateness_ms : how far an event may lie behind the newest one and still be counted.

    Raises
    ------
    ValueError
        When the length is no positive multiple of the slide, the slide below 1 or the lateness below 0.
    """

    __slots__ = ("_newest_pane", "_panes", "lateness_ms", "length_ms", "newest_at", "slide_ms")

    def __init__(self, length_ms: int, slide_ms: int, lateness_ms: int) -> None:
        if slide_ms < 1 or length_ms < slide_ms or length_ms % slide_ms or lateness_ms < 0:
            raise ValueError(
                f"a length of {length_ms} ms, a slide of {slide_ms} ms and a lateness of {lateness_ms} ms: "
                "need a length that is a multiple of the slide, and nothing negative"
            )
        self.length_ms = length_ms
        self.slide_ms = slide_ms
        self.lateness_ms = lateness_ms
        self.newest_at = 0
        """Time of the newest event counted; 0 before the first."""
        self._newest_pane = 0
        # The newest pane is always the last. The lateness may begin inside a pane, so it is rounded up.
        n_late_panes = -(-lateness_ms // slide_ms)
        self._panes = [0] * (length_ms // slide_ms + n_late_panes)

    def add(self, at: int) -> None:
        """Count one event, in any order. A late one changes nothing."""
        newest_at = self.newest_at
        if at < newest_at - self.lateness_ms:
            return
        behind = self._newest_pane - at // self.slide_ms
        if behind < 0:
            n = len(self._panes)
            self._panes = self._panes[-behind:] + [0] * -behind if -behind < n else [0] * n
            self._newest_pane -= behind
            behind = 0
        self._panes[-1 - behind] += 1
        if at > newest_at:
            self.newest_at = at

    def count(self, at: int) -> int:
        """Count the events of the window that ends with the pane which holds `at`.

        Exact where an event at `at` would not be late, and for any later time.
        """
        end = len(self._panes) + at // self.slide_ms - self._newest_pane
        return sum(self._panes[max(end - self.length_ms // self.slide_ms, 0) : max(end, 0)])

    def pack(self) -> tuple[int, ...]:
        """Pack into `newest_at` and the panes, oldest first, without those before the first event."""
        first = next((i for i, n in enumerate(self._panes) if n), len(self._panes))
        return (self.newest_at, *self._panes[first:])

    @classmethod
    def unpack(cls, values: Sequence[int], length_ms: int, slide_ms: int, lateness_ms: int) -> Self:
        """Restore what `pack` returned; length and lateness may have changed since, the slide must not."""
        window = cls(length_ms, slide_ms, lateness_ms)
        window.newest_at = values[0]
        window._newest_pane = window.newest_at // slide_ms
        n_panes = len(window._panes)
        window._panes = ([0] * n_panes + list(values[1:]))[-n_panes:]
        return window


def is_bot(actions: SlidingWindow, at: int, limit: int) -> bool:
    """Whether more than `limit` actions lie in the 5 minutes that end with the minute of `at`.

    Parameters
    ----------
    actions : counts of `BOT_WINDOW_MS`, with a slide that divides a minute.
    """
    return actions.count(at - at % MINUTE_MS + MINUTE_MS - 1) > limit
