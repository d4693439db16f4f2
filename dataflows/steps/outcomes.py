"""The step that keeps each user's outcomes and says how they change the sums of the user's variant."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.observations import Observation
from models.experiments.judge.user_outcomes import Change, UserOutcomes


class OutcomesLogic(StatefulBatchLogic[Observation | None, Change, bytes]):
    """One user; forgotten after a long rest, and at once when erased."""

    def __init__(
        self,
        packed: bytes | None,
        config: OutcomeConfig,
        impressions: ImpressionKind,
        rest: timedelta,
        clock: Callable[[], datetime],
        counts: Counter[str],
    ) -> None:
        self._new_user = partial(UserOutcomes, config, impressions)
        self._user = self._new_user(packed)
        self._rest = rest
        self._clock = clock
        self._counts = counts
        self._active_at = clock()
        self._notify_at = self._active_at + rest

    def on_batch(self, values: list[Observation | None]) -> tuple[Iterable[Change], bool]:
        """Emit what changes; count late and repeated observations."""
        self._active_at = self._clock()
        changes: list[Change | None] = []
        while None in values:
            erased = values.index(None)
            changes.append(self._observe(values[:erased]))
            changes.append(self._user.withdraw())
            self._user = self._new_user()
            values = values[erased + 1 :]
        changes.append(self._observe(values))
        told = [change for change in changes if change is not None]
        return told, self.RETAIN if values else self.DISCARD

    def _observe(self, values: list[Observation | None]) -> Change | None:
        observations = [observation for observation in values if observation is not None]
        self._counts.update(self._user.observe(observations))
        return self._user.change(observations)

    def on_notify(self) -> tuple[Iterable[Change], bool]:
        """Forget a user who has rested since; what was added to the sums stays."""
        self._notify_at = self._active_at + self._rest
        return (), self.DISCARD if self._notify_at <= self._clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to look again whether the user has gone."""
        return self._notify_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def outcomes(
    step_id: str,
    observed: KeyedStream[Observation | None],
    config: OutcomeConfig,
    impressions: ImpressionKind,
    rest: timedelta,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> KeyedStream[Change]:
    """Keep each user's outcomes.

    Parameters
    ----------
    observed : by user; None is an erasure.
    rest : a user idle for so long is forgotten.
    clock : aware, as the engine's notifications are.
    counts : what could not be used is added to, by reason.
    """
    return op.stateful_batch(
        step_id, observed, lambda packed: OutcomesLogic(packed, config, impressions, rest, clock, counts)
    )
