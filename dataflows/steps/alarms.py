"""Times at which keys are to be looked at again, without the engine where they are many.

The engine looks through the times of all its keys at each look at a step (`dataflows.steps.rest`). So it is told of
some alone, which are on time even where nothing else comes; the others wait here for the next batch of anybody's.
"""

from collections.abc import Callable
from datetime import datetime
from heapq import heappop, heappush

MOST_IN_ENGINE = 1_000
"""Keys of which the engine is told: some 50 us a look."""


class Alarms:
    """The times of a step's keys.

    Parameters
    ----------
    clock : aware.
    """

    def __init__(self, clock: Callable[[], datetime], most_in_engine: int = MOST_IN_ENGINE) -> None:
        self._clock = clock
        self._most_in_engine = most_in_engine
        self._n_in_engine = 0
        self._seconds: list[int] = []
        """A heap of those that have keys."""
        self._keys: dict[int, list[str]] = {}

    def enter_engine(self) -> bool:
        """Take a place among the keys of which the engine is told, if there is one."""
        has_room = self._n_in_engine < self._most_in_engine
        self._n_in_engine += has_room
        return has_room

    def leave_engine(self) -> None:
        """Give the place back: the time has come, or the key goes."""
        self._n_in_engine -= 1

    def set(self, key: str, at: datetime) -> None:
        """Let a key be due from the whole second after a time on."""
        second = int(at.timestamp()) + 1
        if second not in self._keys:
            self._keys[second] = []
            heappush(self._seconds, second)
        self._keys[second].append(key)

    def due(self) -> list[str]:
        """Return the keys whose time has come; each is named once a time that was set."""
        now = self._clock().timestamp()
        found: list[str] = []
        while self._seconds and self._seconds[0] <= now:
            found += self._keys.pop(heappop(self._seconds))
        return found
