"""Who waits for slates: streams of a user's slates, and requests that wait for theirs."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

MAX_WAITING = 64
"""Slates that wait for a slow stream; older ones are left out, since each replaces the one before."""


class TooManyStreamsError(Exception):
    """As many streams are open as may be."""


class Hub:
    """Hands slates to whoever waits for them; used on one event loop alone.

    Parameters
    ----------
    max_streams : that may be open at a time.
    """

    def __init__(self, max_streams: int) -> None:
        self._max_streams = max_streams
        self._streams: defaultdict[str, set[asyncio.Queue[bytes | None]]] = defaultdict(set)
        self._awaited: dict[str, asyncio.Future[bytes]] = {}
        self.n_streams = 0

    def publish(self, user_id: str, trigger_id: str, slate: bytes | None) -> None:
        """Hand over a slate; None where the user was erased."""
        for queue in self._streams.get(user_id, ()):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(slate)
        waiting = self._awaited.get(trigger_id)
        if waiting is not None and slate is not None and not waiting.done():
            waiting.set_result(slate)

    @contextmanager
    def stream(self, user_id: str) -> Iterator["asyncio.Queue[bytes | None]"]:
        """Give a queue that a user's slates are put into.

        Raises
        ------
        TooManyStreamsError : no more may be open.
        """
        if self.n_streams >= self._max_streams:
            raise TooManyStreamsError
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING)
        self._streams[user_id].add(queue)
        self.n_streams += 1
        try:
            yield queue
        finally:
            self.n_streams -= 1
            self._streams[user_id].discard(queue)
            if not self._streams[user_id]:
                del self._streams[user_id]

    @contextmanager
    def awaiting(self, trigger_id: str) -> Iterator["asyncio.Future[bytes]"]:
        """Give the slate of a request that is about to be written, once it comes."""
        future = self._awaited[trigger_id] = asyncio.get_running_loop().create_future()
        try:
            yield future
        finally:
            del self._awaited[trigger_id]
            future.cancel()
