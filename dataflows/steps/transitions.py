"""The steps that reduce events to acts, and say what each teaches about items in its user's running session."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.following.erasures import Erased, Erasures
from dataflows.steps.rest import Rested, Resting
from models.config import HistoryConfig, ProfileConfig
from models.counts.history import LearnedUser, Withdrawal
from models.counts.transitions import Contribution, ItemAct, act_of
from models.events import EventConfig
from models.messages import ErasureReceipt, Event

_MS = timedelta(milliseconds=1)

Taught = Contribution | Withdrawal | ErasureReceipt


def read_acts(
    step_id: str, events: Stream[Event], config: EventConfig, resting: Resting | None = None
) -> KeyedStream[ItemAct | Rested]:
    """Reduce events to what learning needs of them, by state key; leave out those that teach nothing.

    Those who have rested are told.
    """

    def mapper(batch: list[Event]) -> list[tuple[str, ItemAct | Rested]]:
        acts = [(event.user_id, act_of(event, config)) for event in batch]
        known: list[tuple[str, ItemAct | Rested]] = [(user_id, act) for user_id, act in acts if act is not None]
        return known if resting is None else [*known, *resting.due()]

    return op.flat_map_batch(step_id, events, mapper)


class TransitionsLogic(StatefulBatchLogic[ItemAct | Erased | Rested, Taught, bytes]):
    """One user; forgotten once nothing of the state can matter any more, and when erased."""

    def __init__(
        self,
        packed: bytes | None,
        config: ProfileConfig,
        clock: Callable[[], datetime],
        counts: Counter[str],
        history: HistoryConfig | None = None,
        erasures: Erasures | None = None,
        *,
        is_swept: bool = False,
    ) -> None:
        history = history or HistoryConfig()
        self._user = LearnedUser.unpack(packed, config, history) if packed else LearnedUser(config, history)
        self._clock = clock
        self._counts = counts
        self._erasures = erasures or Erasures()
        self._n_taken_back = self._n_lost = 0
        """Contributions that went before the erasure itself came by: the process knew of it already."""
        self._active_at: datetime | None = None if is_swept else clock()
        """When something last came; None where nothing has come to this process and the store knows."""
        self._wake_at = None if self._active_at is None else self._active_at + self._idle_time

    @property
    def _idle_time(self) -> timedelta:
        return timedelta(milliseconds=self._user.rests_after_ms)

    def on_batch(self, values: list[ItemAct | Erased | Rested]) -> tuple[Iterable[Taught], bool]:
        """Emit a contribution for each act that teaches something, and what an erasure takes back; count the rest."""
        told = [value for value in values if not isinstance(value, Rested)]
        if not told:
            return (), self.RETAIN if self._user.rest(
                self._idle_ms(min(value.ms for value in values if isinstance(value, Rested)))
            ) else self.DISCARD
        self._active_at = self._clock()
        emitted: list[Taught] = []
        for value in told:
            if isinstance(value, Erased):
                self._erasures.note_key(value.key, value.requested_at)
            erased_until = self._erasures.until_hash(value.user)
            if erased_until > self._user.erased_until:
                emitted += self._take_back(erased_until, value.user)
            if isinstance(value, Erased):
                emitted += self._receipt(value)
            elif value.at <= erased_until:
                self._counts["before_erasure"] += 1
            elif isinstance(result := self._user.apply(value), str):
                self._counts[result] += 1
            else:
                emitted.append(result)
        is_nobody = self._user.is_new and not self._n_taken_back
        return emitted, self.DISCARD if is_nobody else self.RETAIN

    def _take_back(self, erased_until: int, user: int) -> Iterator[Taught]:
        self._n_lost += self._user.n_lost
        if taught := self._user.erase(erased_until, user):
            self._n_taken_back += len(taught)
            yield Withdrawal((user,), taught)

    def _receipt(self, erased: Erased) -> Iterator[Taught]:
        """Report what went; sessions and counts of users go under every key that the user has had."""
        yield Withdrawal(erased.users, ())
        n, n_lost = self._n_taken_back, self._n_lost
        note = f"{n_lost} older ones are not kept one by one: they decay" if n_lost else ""
        at = int(self._clock().timestamp() * 1_000)
        yield ErasureReceipt(
            erased.key, erased.erasure_id, erased.requested_at, "learn.transitions", "contributions", n + n_lost,
            n_lost, at, note,
        )  # fmt: skip
        self._n_taken_back = self._n_lost = 0

    def on_notify(self) -> tuple[Iterable[Taught], bool]:
        """Let go of what a user who has been idle since needs no more; the notification may be older than the act."""
        if not self._user.rest(self._idle_ms()):
            return (), self.DISCARD
        self._wake_at = None if self._active_at is None else self._active_at + self._idle_time
        return (), self.RETAIN

    def _idle_ms(self, unwritten_ms: int = 0) -> int:
        """Return how long the user has rested; once something was let go of, the newest act alone says how long."""
        now = self._clock()
        if self._active_at is not None:
            return (now - self._active_at) // _MS
        since_act_ms = int(now.timestamp() * 1_000) - self._user.newest_at
        return max(since_act_ms, unwritten_ms)

    def notify_at(self) -> datetime | None:
        """Return when to check again whether the user is idle, where nobody else tells."""
        return self._wake_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def transitions(
    step_id: str,
    acts: KeyedStream[ItemAct | Erased | Rested],
    config: ProfileConfig,
    history: HistoryConfig,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erasures: Erasures,
    *,
    is_swept: bool = False,
) -> KeyedStream[Taught]:
    """Turn each user's acts into contributions, and erasures into what they take back.

    Parameters
    ----------
    clock : aware, as the engine's notifications are.
    counts : what taught nothing is added to, by reason.
    is_swept : whether users who have rested are told so, and the engine need not wake them.
    """
    return op.stateful_batch(
        step_id,
        acts,
        lambda packed: TransitionsLogic(packed, config, clock, counts, history, erasures, is_swept=is_swept),
    )
