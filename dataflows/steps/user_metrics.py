"""The step that measures each user and says how the user's values change the sums of the variant."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models.config import AttributionConfig, OutcomeConfig
from models.experiments.judge.observations import Observation
from models.experiments.judge.user_metrics import Change, UserMetrics


class UserMetricsLogic(StatefulBatchLogic[Observation | None, Change, bytes]):
    """One user; forgotten when idle for long, and at once when erased."""

    def __init__(
        self,
        packed: bytes | None,
        config: OutcomeConfig,
        attribution: AttributionConfig,
        rest: timedelta,
        clock: Callable[[], datetime],
        counts: Counter[str],
    ) -> None:
        self._new_user = partial(
            UserMetrics, config, attribution.impressions, counts_after_ms=attribution.counts_after_ms
        )
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
        found = [change for change in changes if change is not None]
        return found, self.RETAIN if values else self.DISCARD

    def _observe(self, values: list[Observation | None]) -> Change | None:
        observations = [observation for observation in values if observation is not None]
        self._counts.update(self._user.observe(observations))
        return self._user.change(observations)

    def on_notify(self) -> tuple[Iterable[Change], bool]:
        """Forget a user who has been idle since; what was added to the sums stays."""
        self._notify_at = self._active_at + self._rest
        return (), self.DISCARD if self._notify_at <= self._clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to check again whether the user is idle."""
        return self._notify_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def measure_users(
    step_id: str,
    observed: KeyedStream[Observation | None],
    config: OutcomeConfig,
    attribution: AttributionConfig,
    rest: timedelta,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> KeyedStream[Change]:
    """Measure each user: (user, Change).

    Parameters
    ----------
    observed : by user; None is an erasure.
    attribution : what counts as an impression.
    rest : a user idle for so long is forgotten.
    clock : aware, as the engine's notifications are.
    counts : what could not be used is added to it, by reason.
    """
    return op.stateful_batch(
        step_id, observed, lambda packed: UserMetricsLogic(packed, config, attribution, rest, clock, counts)
    )
