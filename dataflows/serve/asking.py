"""Asks the read model for the event loop, and knows whether its store does its work."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar, TypeVarTuple

from dataflows.serve.access import RefusedError
from dataflows.serve.read_models.contract import LostStoreError, ReadModel

log = logging.getLogger(__name__)

A = TypeVarTuple("A")
R = TypeVar("R")

READ_S = 5.0
"""How long whoever asks waits for a store."""
N_READERS = 8
"""Threads that ask a store on a server."""
READING, KEEPING = "reading", "keeping"
"""What a store does; either may fail alone, as where its disk is full."""


class Store:
    """The read model as the door asks it; a file at once, a server on threads, so that nobody else waits for it.

    Parameters
    ----------
    model : what is asked.
    """

    def __init__(self, model: ReadModel) -> None:
        self.model = model
        self.kept: dict[str, int] = {}
        """How many slates and items it had when it was asked last."""
        self._faults: dict[str, str] = {}
        self._readers = None if model.is_local else ThreadPoolExecutor(N_READERS, "read-model")

    @property
    def is_well(self) -> bool:
        """Whether it did what it was asked last."""
        return not self._faults

    async def read(self, ask: Callable[[*A], R], *arguments: *A) -> R:
        """Ask one of the model's questions.

        Raises
        ------
        RefusedError : it does not answer.
        """
        if self._readers is None:
            return ask(*arguments)
        loop = asyncio.get_running_loop()
        try:
            answer = await asyncio.wait_for(loop.run_in_executor(self._readers, ask, *arguments), READ_S)
        except (LostStoreError, TimeoutError) as error:
            self.note(READING, str(error) or f"the store of the slates gave no answer within {READ_S:g} s")
            raise RefusedError(
                503, "store_unreachable", "the store of the slates does not answer; ask again, it may be back soon"
            ) from None
        self.note(READING, None)
        return answer

    async def count(self) -> None:
        """Count what is kept; where the store does not answer, what it had before stands."""
        with suppress(RefusedError):
            self.kept = await self.read(self.model.counts)

    def note(self, work: str, fault: str | None) -> None:
        """Note whether the store does its work, and say so where that has changed; from any thread.

        Parameters
        ----------
        fault : what is wrong, without a secret; None: nothing.
        """
        if fault is not None and work not in self._faults:
            self._faults[work] = fault
            log.error("%s The door goes on with %s once it does.", fault, work)
        elif fault is None and self._faults.pop(work, None) is not None:
            log.info("the store of the slates is back: the door goes on with %s", work)

    def close(self) -> None:
        """Ask no more."""
        if self._readers is not None:
            self._readers.shutdown(wait=False, cancel_futures=True)
