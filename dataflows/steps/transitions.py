"""The steps that reduce events to acts, and say what each teaches about items in its user's running session."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models.config import ProfileConfig
from models.counts.transitions import Contribution, ItemAct, UserTransitions, act_of
from models.events import EventConfig
from models.messages import Event


def read_acts(step_id: str, events: Stream[Event], config: EventConfig) -> KeyedStream[ItemAct]:
    """Reduce events to what learning needs of them, by user; leave out those that teach nothing."""

    def mapper(batch: list[Event]) -> list[tuple[str, ItemAct]]:
        acts = [(event.user_id, act_of(event, config)) for event in batch]
        return [(user_id, act) for user_id, act in acts if act is not None]

    return op.flat_map_batch(step_id, events, mapper)


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
        self._idle_time = timedelta(milliseconds=self._user.forget_after_ms)
        self._active_at = clock()
        self._notify_at = self._active_at + self._idle_time

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
        """Forget a user who has been idle since; the notification may be older than the last act."""
        self._notify_at = self._active_at + self._idle_time
        return (), self.DISCARD if self._notify_at <= self._clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to check again whether the user is idle."""
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
