"""The step that remembers each user's running session and says what an event teaches about items."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models.config import ProfileConfig
from models.counts.transitions import Contribution, ItemAct, UserTransitions


class TransitionsLogic(StatefulBatchLogic[ItemAct, Contribution, bytes]):
    """One user; forgotten once nothing of the state can matter any more."""

    def __init__(
        self,
        packed: bytes | None,
        config: ProfileConfig,
        clock: Callable[[], datetime],
        counts: Counter[str],
    ) -> None:
        self._user = UserTransitions.unpack(packed, config) if packed else UserTransitions(config)
        self._clock = clock
        self._counts = counts
        self._rest = timedelta(milliseconds=self._user.forget_after_ms)
        self._active_at = clock()
        self._notify_at = self._active_at + self._rest

    def on_batch(self, values: list[ItemAct]) -> tuple[Iterable[Contribution], bool]:
        """Emit a contribution for each act that teaches something; count the others by reason."""
        self._active_at = self._clock()
        learned = []
        for act in values:
            result = self._user.apply(act)
            if isinstance(result, str):
                self._counts[result] += 1
            else:
                learned.append(result)
        return learned, self.RETAIN

    def on_notify(self) -> tuple[Iterable[Contribution], bool]:
        """Forget a user who has rested since; the notification may be older than the last act."""
        self._notify_at = self._active_at + self._rest
        return (), self.DISCARD if self._notify_at <= self._clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to look again whether the user has gone."""
        return self._notify_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def transitions(
    step_id: str,
    acts: KeyedStream[ItemAct],
    config: ProfileConfig,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> KeyedStream[Contribution]:
    """Turn each user's acts into contributions.

    Parameters
    ----------
    clock : aware, as the engine's notifications are.
    counts : what taught nothing is added to, by reason.
    """
    return op.stateful_batch(step_id, acts, lambda packed: TransitionsLogic(packed, config, clock, counts))
