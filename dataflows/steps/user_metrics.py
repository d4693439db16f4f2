"""The step that measures each user and says how the user's values change the sums of the variant."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.following.erasures import Erased, Erasures
from dataflows.steps.rest import Rested
from models.config import AttributionConfig, OutcomeConfig
from models.experiments.judge.observations import Observation
from models.experiments.judge.user_metrics import Change, UserMetrics
from models.messages import ErasureReceipt


class Observed(NamedTuple):
    """An observation, and whose it is."""

    state_key: str
    observation: Observation


class UserMetricsLogic(StatefulBatchLogic[Observed | Erased | Rested, Change | ErasureReceipt, bytes]):
    """One user; forgotten when idle for long, and at once when erased."""

    def __init__(
        self,
        packed: bytes | None,
        config: OutcomeConfig,
        attribution: AttributionConfig,
        rest: timedelta,
        clock: Callable[[], datetime],
        counts: Counter[str],
        erasures: Erasures | None = None,
        *,
        is_swept: bool = False,
    ) -> None:
        after_ms = attribution.counts_after_ms
        self._user = UserMetrics(config, attribution.impressions, packed, counts_after_ms=after_ms)
        self._erasures = erasures or Erasures()
        self._n_erased = 0
        """What went before the erasure itself came by: the process knew of it already."""
        self._rest = rest
        self._clock = clock
        self._counts = counts
        self._active_at: datetime | None = None if is_swept else clock()
        """When something last came; None where nothing has come to this process and the store knows."""
        self._wake_at = None if self._active_at is None else self._active_at + rest

    def on_batch(self, values: list[Observed | Erased | Rested]) -> tuple[Iterable[Change | ErasureReceipt], bool]:
        """Emit what changes, and what an erasure took; count late and repeated observations."""
        told = [value for value in values if not isinstance(value, Rested)]
        if not told:
            return (), self.RETAIN if self._is_active else self.DISCARD
        self._active_at = self._clock()
        emitted: list[Change | ErasureReceipt | None] = []
        waiting: list[Observation] = []
        for value in told:
            if isinstance(value, Erased):
                self._erasures.note_key(value.key, value.requested_at)
            erased_until = self._erasures.until(value.key if isinstance(value, Erased) else value.state_key)
            if erased_until > self._user.erased_until:
                emitted += [self._observe(waiting), self._forget(erased_until)]
                waiting = []
            if isinstance(value, Erased):
                emitted.append(self._receipt(value))
            elif value.observation.at <= erased_until:
                self._counts["before_erasure"] += 1
            else:
                waiting.append(value.observation)
        emitted.append(self._observe(waiting))
        is_nobody = self._user.is_new and not self._n_erased
        return [value for value in emitted if value is not None], self.DISCARD if is_nobody else self.RETAIN

    def _observe(self, observations: list[Observation]) -> Change | None:
        self._counts.update(self._user.observe(observations))
        return self._user.change(observations)

    def _forget(self, requested_at: int) -> Change | None:
        self._n_erased += self._user.n_kept
        return self._user.erase(requested_at)

    def _receipt(self, erased: Erased) -> ErasureReceipt:
        n, self._n_erased = self._n_erased, 0
        at = int(self._clock().timestamp() * 1_000)
        what = "observations and slates"
        return ErasureReceipt(erased.key, erased.erasure_id, erased.requested_at, "evaluate.outcomes", what, n, 0, at)

    @property
    def _is_active(self) -> bool:
        """Whether something has come that is not older than a user may rest."""
        return self._active_at is not None and self._active_at + self._rest > self._clock()

    def on_notify(self) -> tuple[Iterable[Change | ErasureReceipt], bool]:
        """Forget a user who has been idle since; what was added to the sums stays."""
        self._wake_at = None if self._active_at is None else self._active_at + self._rest
        return (), self.RETAIN if self._is_active else self.DISCARD

    def notify_at(self) -> datetime | None:
        """Return when to check again whether the user is idle, where nobody else tells."""
        return self._wake_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def measure_users(
    step_id: str,
    observed: KeyedStream[Observed | Erased | Rested],
    config: OutcomeConfig,
    attribution: AttributionConfig,
    rest: timedelta,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erasures: Erasures,
    *,
    is_swept: bool = False,
) -> KeyedStream[Change | ErasureReceipt]:
    """Measure each user: (state key, Change | ErasureReceipt).

    Parameters
    ----------
    observed : by state key.
    attribution : what counts as an impression.
    rest : a user idle for so long is forgotten.
    clock : aware, as the engine's notifications are.
    counts : what could not be used is added to it, by reason.
    is_swept : whether users who have rested are told so, and the engine need not wake them.
    """
    return op.stateful_batch(
        step_id,
        observed,
        lambda packed: UserMetricsLogic(packed, config, attribution, rest, clock, counts, erasures, is_swept=is_swept),
    )
