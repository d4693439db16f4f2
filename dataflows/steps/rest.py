"""Users who have rested for so long that a flow lets go of them, as its recovery store tells.

The engine wakes a key at a time that its state names. But it looks through the times of all keys whenever it looks at a
step, 28 ns a key twice, and keeps each look, 72 bytes, until the earliest time has come: with a month to go, that fills
gigabytes. So where there is a store, states name no far time. The store says when each key was written last, and those
that have rested are told so, a few at a time, beside what the flow reads anyway.
"""

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

PAUSE = timedelta(seconds=0.5)
"""Between two pages: a million keys take a quarter of an hour."""
FIRST_LOOK = timedelta(minutes=10)
"""After a start, which has other things to do."""
MOST, LEAST = timedelta(days=1), timedelta(seconds=10)
"""Between two looks through the store, which is an eighth of what a user has to rest."""

log = logging.getLogger(__name__)

Look: TypeAlias = Callable[[int], Iterator[list[tuple[str, int]]]]
"""Finds the keys of a step that were written last before a time, and when, Unix ms: pages, some of them empty."""


class Rested(NamedTuple):
    """Tells a state that nothing has come to its key for so long."""

    ms: int


class Resting:
    """The keys of one step that have rested, a few at a time.

    Parameters
    ----------
    look : looks through the store.
    after : how long a key has to rest.
    clock : aware.
    is_caught_up : whether all but the last moments has been read. Of a backlog nobody knows who is in it, and who is
        would be forgotten amid their return.
    """

    def __init__(
        self,
        look: Look,
        after: timedelta,
        clock: Callable[[], datetime],
        is_caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self._look = look
        self._after = after
        self._clock = clock
        self._is_caught_up = is_caught_up
        self._every = min(max(after / 8, LEAST), MOST)
        self._look_at = clock() + min(self._every, FIRST_LOOK)
        self._pages: Iterator[list[tuple[str, int]]] | None = None

    def due(self) -> list[tuple[str, Rested]]:
        """Return the next keys that have rested; mostly none, at once."""
        now = self._clock()
        if now < self._look_at:
            return []
        self._look_at = now + PAUSE
        if not self._is_caught_up():
            return []
        now_ms = int(now.timestamp() * 1_000)
        if self._pages is None:
            self._pages = self._look(now_ms - self._after // timedelta(milliseconds=1))
        page = self._next(self._pages)
        if page is None:
            self._pages, self._look_at = None, now + self._every
            return []
        return [(key, Rested(now_ms - at)) for key, at in page]

    def _next(self, pages: Iterator[list[tuple[str, int]]]) -> list[tuple[str, int]] | None:
        try:
            return next(pages, None)
        except OSError as error:
            log.warning("who has rested could not be looked up, and will be once more in %s: %s", self._every, error)
            return None


FindRested: TypeAlias = Callable[[str, timedelta], Resting]
"""Looks for the keys of a step, by its id, that have rested for so long."""
