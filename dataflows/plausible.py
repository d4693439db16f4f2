"""What a message may say of its time and its user: held against its record, its key and the wall clock.

A record's own time is its producer's, unless the topic stamps what it takes (`message.timestamp.type`), so it bounds
nothing alone. The wall clock bounds from above only: a past may be replayed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from dataflows.records import Record

Clock: TypeAlias = Callable[[], datetime]
"""Aware."""
Fault: TypeAlias = tuple[str, str] | None
"""A reason and a detail; None: nothing is wrong."""

SECONDS = range(10**8, 10**10)
"""Unix times from 1973 to 2286 in seconds; in milliseconds, some days of early 1970 of which nobody has events."""


def now() -> datetime:
    """Read the wall clock."""
    return datetime.now(UTC)


def in_ms(moment: datetime) -> int:
    """Return a moment as Unix milliseconds."""
    return int(moment.timestamp() * 1_000)


class Latest:
    """The latest time that anything may have happened: the wall clock, and some more for clocks that differ.

    Parameters
    ----------
    clock : looked at only where what it said before does not suffice.
    max_ahead_ms : how far clocks may differ.
    """

    __slots__ = ("_clock", "_max_ahead_ms", "_read_at")

    def __init__(self, clock: Clock, max_ahead_ms: int) -> None:
        self._clock = clock
        self._max_ahead_ms = max_ahead_ms
        self._read_at = 0

    def __call__(self) -> int:
        """Return it as of now, Unix ms."""
        self._read_at = in_ms(self._clock())
        return self._read_at + self._max_ahead_ms

    def allows(self, at: int) -> bool:
        """Say whether a time, Unix ms, is not ahead of it."""
        return at <= self._read_at + self._max_ahead_ms or at <= self()


class Plausible:
    """Finds times and keys that would do harm if they were believed.

    Parameters
    ----------
    clock : the wall clock.
    max_future_ms : how far a time may lie beyond its record's own, and beyond the clock.
    by_user : whether a record's key has to be the message's user.
    """

    __slots__ = ("_by_user", "_latest", "_max_future_ms")

    def __init__(self, clock: Clock, max_future_ms: int, *, by_user: bool) -> None:
        self._latest = Latest(clock, max_future_ms)
        self._max_future_ms = max_future_ms
        self._by_user = by_user

    def of_user(self, user_id: str, at: int, record: Record) -> Fault:
        """Check a message of the platform: whose it is, and when it happened."""
        if self._by_user and record.key != user_id.encode():
            found = "the key is not the message's user_id" if record.key else "the message has no key"
            return "wrong_key", (
                f"{found}: a user's messages keep their order only in one partition. Write it under the user_id, or "
                "set EDDY_EVENTS__KEYS=any where the keys keep each user's messages together all the same"
            )
        ahead = at - record.timestamp
        if ahead > self._max_future_ms:
            return (
                "future",
                f"it lies {ahead} ms after the record's own time; at most {self._max_future_ms} are allowed",
            )
        return self.time(at)

    def time(self, at: int) -> Fault:
        """Check when something happened."""
        if not self._latest.allows(at):
            return "future", f"it is more than {self._max_future_ms} ms ahead of the clock"
        return in_seconds(at)


def in_seconds(at: int) -> Fault:
    """Find a time that is in seconds where milliseconds are expected."""
    return ("seconds", f"{at} looks like seconds; milliseconds are expected") if at in SECONDS else None
