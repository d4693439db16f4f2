"""The steps that reduce events to acts, and say what each teaches about items in its user's running session."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.following.erasures import Erased, Erasures
from models.config import HistoryConfig, ProfileConfig
from models.counts.history import LearnedUser, Withdrawal
from models.counts.transitions import Contribution, ItemAct, act_of
from models.events import EventConfig
from models.messages import ErasureReceipt, Event

Taught = Contribution | Withdrawal | ErasureReceipt


def read_acts(step_id: str, events: Stream[Event], config: EventConfig) -> KeyedStream[ItemAct]:
    """Reduce events to what learning needs of them, by state key; leave out those that teach nothing."""

    def mapper(batch: list[Event]) -> list[tuple[str, ItemAct]]:
        acts = [(event.user_id, act_of(event, config)) for event in batch]
        return [(user_id, act) for user_id, act in acts if act is not None]

    return op.flat_map_batch(step_id, events, mapper)


class TransitionsLogic(StatefulBatchLogic[ItemAct | Erased, Taught, bytes]):
    """One user; forgotten once nothing of the state can matter any more, and when erased."""

    def __init__(
        self,
        packed: bytes | None,
        config: ProfileConfig,
        clock: Callable[[], datetime],
        counts: Counter[str],
        history: HistoryConfig | None = None,
        erasures: Erasures | None = None,
    ) -> None:
        history = history or HistoryConfig()
        self._user = LearnedUser.unpack(packed, config, history) if packed else LearnedUser(config, history)
        self._clock = clock
        self._counts = counts
        self._erasures = erasures or Erasures()
        self._n_taken_back = self._n_lost = 0
        """Contributions that went before the erasure itself came by: the process knew of it already."""
        self._active_at = clock()
        self._notify_at = self._active_at + self._idle_time

    @property
    def _idle_time(self) -> timedelta:
        return timedelta(milliseconds=self._user.rests_after_ms)

    def on_batch(self, values: list[ItemAct | Erased]) -> tuple[Iterable[Taught], bool]:
        """Emit a contribution for each act that teaches something, and what an erasure takes back; count the rest."""
        self._active_at = self._clock()
        emitted: list[Taught] = []
        for value in values:
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
        idle_ms = (self._clock() - self._active_at) // timedelta(milliseconds=1)
        if not self._user.rest(idle_ms):
            return (), self.DISCARD
        self._notify_at = self._active_at + self._idle_time
        return (), self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to check again whether the user is idle."""
        return self._notify_at

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()


def transitions(
    step_id: str,
    acts: KeyedStream[ItemAct | Erased],
    config: ProfileConfig,
    history: HistoryConfig,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erasures: Erasures,
) -> KeyedStream[Taught]:
    """Turn each user's acts into contributions, and erasures into what they take back.

    Parameters
    ----------
    clock : aware, as the engine's notifications are.
    counts : what taught nothing is added to, by reason.
    """
    return op.stateful_batch(
        step_id, acts, lambda packed: TransitionsLogic(packed, config, clock, counts, history, erasures)
    )
