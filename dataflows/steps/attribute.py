"""The step that attributes feedback to slates, a user a key."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.following.erasures import Erased, Erasures
from dataflows.steps.alarms import Alarms
from dataflows.steps.rest import Rested, Resting
from models.config import AttributionConfig
from models.messages import DeadLetter, ErasureReceipt, Event
from models.online.attribution import UserAttribution
from models.online.outcome import ClosedSlate, ShownSlate

AttributionInput: TypeAlias = ShownSlate | Event | Erased | Rested
"""A slate, an event, an erasure or nothing for long; users are called by their state keys."""
Attributed: TypeAlias = ClosedSlate | ErasureReceipt


@dataclass(frozen=True)
class AttributeStep:
    """What every user's logic shares."""

    config: AttributionConfig
    weights: Mapping[str, float]
    """Of each event type."""
    forget_after: timedelta
    """An idle user is forgotten after this."""
    clock: Callable[[], datetime]
    """Aware; moves event time on while a user is idle."""
    counts: Counter[str]
    erasures: Erasures = field(default_factory=Erasures)
    alarms: Alarms | None = None
    """When slates close, and a sign that users who have rested are told so; none: the engine wakes every user."""
    decides_clicks_early: bool = False
    """Whether somebody learns what is clicked before it is known what is bought."""


class AttributeLogic(StatefulBatchLogic[AttributionInput, Attributed, bytes]):
    """One user.

    Slates and events come on two topics, so event time has come as far as the slower of them; each goes on with the
    clock from its last message. So a replay that reads one topic ahead of the other closes nothing too early, and an
    idle user's slates are decided in time.
    """

    def __init__(self, packed: bytes | None, step: AttributeStep) -> None:
        self._step = step
        config, early = step.config, step.decides_clicks_early
        if packed is None:
            self._user = UserAttribution(config, step.weights, step.counts, decides_clicks_early=early)
        else:
            self._user = UserAttribution.unpack(packed, config, step.weights, step.counts, decides_clicks_early=early)
        self._event_seen_at = self._slate_seen_at = step.clock()
        self._key = ""
        """The user's, as the first message to this process says."""
        self._is_in_engine = False
        self._alarm_at: datetime | None = None
        self._n_erased = 0
        """What went before the erasure itself came by: the process knew of it already."""

    def on_batch(self, values: list[AttributionInput]) -> tuple[Iterable[Attributed], bool]:
        """Take slates, events and erasures; emit the slates whose windows have closed."""
        counts, erasures, now = self._step.counts, self._step.erasures, self._step.clock()
        told = [value for value in values if not isinstance(value, Rested)]
        if not told:
            return self._rested(now, max(value.ms for value in values if isinstance(value, Rested)))
        if len(told) < len(values):
            self._alarm_at = None  # it has rung
        receipts = []
        for message in told:
            key = self._key = message.key if isinstance(message, Erased) else message.user_id
            if isinstance(message, Erased):
                erasures.note_key(key, message.requested_at)
            erased_until = erasures.until(key)
            if erased_until > self._user.erased_until:
                self._n_erased += self._user.erase(erased_until)
            if isinstance(message, Erased):
                receipts.append(self._receipt(message, now))
                continue
            if isinstance(message, ShownSlate):
                refusal = "erased" if message.created_at <= erased_until else self._user.show(message)
                self._slate_seen_at = now
            else:
                refusal = "erased" if message.timestamp <= erased_until else self._user.take(message)
                self._event_seen_at = now
            if refusal == "erased":
                counts["before_erasure"] += 1
            elif refusal not in {None, "no_feedback"}:
                counts[f"attribution_{refusal}"] += 1
        return [*self._close(now), *receipts], self._retain(not self._is_nobody)

    @property
    def _is_nobody(self) -> bool:
        """Whether nothing is kept that a state would have to hold."""
        user = self._user
        return not (user.n_waiting or user.events_at or user.slates_at or self._n_erased)

    def _receipt(self, erased: Erased, now: datetime) -> ErasureReceipt:
        n, self._n_erased = self._n_erased, 0
        at = int(now.timestamp() * 1_000)
        what = "slates and feedback that wait"
        return ErasureReceipt(erased.key, erased.erasure_id, erased.requested_at, "learn.attribute", what, n, 0, at)

    def on_notify(self) -> tuple[Iterable[Attributed], bool]:
        """Close what has waited long enough; forget a user who has been idle."""
        now = self._step.clock()
        self._leave_engine()
        return self._close(now), self._retain(self._forget_at() > now)

    def _rested(self, now: datetime, ms: int) -> tuple[Iterable[Attributed], bool]:
        """Close what has waited long enough; forget a user to whom nothing has come for as long, here or before."""
        has_gone = not self._key or self._forget_at() <= now
        if not self._key:
            self._event_seen_at = self._slate_seen_at = now - timedelta(milliseconds=ms)
        self._alarm_at = None  # it is set anew where a slate still waits
        return self._close(now), self._retain(not has_gone)

    def _retain(self, is_somebody: bool) -> bool:
        """Tell the engine whether to keep the user."""
        if not is_somebody:
            self._leave_engine()
        return self.RETAIN if is_somebody else self.DISCARD

    def _leave_engine(self) -> None:
        if self._is_in_engine and self._step.alarms is not None:
            self._step.alarms.leave_engine()
            self._is_in_engine = False

    def notify_at(self) -> datetime | None:
        """Return when the next slate closes if nothing more comes, or when to forget the user, if nobody else tells."""
        alarms, next_at, now = self._step.alarms, self._user.next_closing_at(), self._step.clock()
        if next_at is None:
            self._leave_engine()
            return self._forget_at() if alarms is None else None
        closes_at = now + timedelta(milliseconds=max(next_at - self._watermark_at(now), 1))
        if alarms is None or not self._key:
            return closes_at
        self._is_in_engine = self._is_in_engine or alarms.enter_engine()
        if self._is_in_engine:
            return closes_at
        if self._alarm_at is None or closes_at < self._alarm_at:
            self._alarm_at = closes_at
            alarms.set(self._key, closes_at)
        return None

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()

    def _close(self, now: datetime) -> list[ClosedSlate]:
        closed = self._user.close(self._watermark_at(now))
        self._step.counts["attributed_slates"] += sum(slate.is_final for slate in closed)
        return closed

    def _watermark_at(self, now: datetime) -> int:
        """Return the event time, Unix ms, up to which both topics have come."""

        def moved(newest_at: int, seen_at: datetime) -> int:
            return newest_at + int((now - seen_at) / timedelta(milliseconds=1))

        user = self._user
        return min(moved(user.events_at, self._event_seen_at), moved(user.slates_at, self._slate_seen_at))

    def _forget_at(self) -> datetime:
        return max(self._event_seen_at, self._slate_seen_at) + self._step.forget_after


def known_slates(
    step_id: str, decoded: Stream[tuple[str, ShownSlate | None] | DeadLetter], erasures: Erasures, counts: Counter[str]
) -> KeyedStream[AttributionInput]:
    """Call the users of slates by their state keys; leave out dead letters, and what is older than an erasure.

    Tombstones say nothing that `erasures` does not: they are for consumers of the topic.
    """

    def mapper(batch: list[tuple[str, ShownSlate | None] | DeadLetter]) -> list[tuple[str, AttributionInput]]:
        known: list[tuple[str, AttributionInput]] = []
        for entry in batch:
            slate = None if isinstance(entry, DeadLetter) else entry[1]
            if slate is None:
                continue
            key = erasures.keys(slate.user_id)
            if slate.created_at <= erasures.until(key):
                counts["before_erasure"] += 1
            else:
                known.append((key, slate if key == slate.user_id else replace(slate, user_id=key)))
        return known

    return op.flat_map_batch(step_id, decoded, mapper)


def reminded(
    step_id: str, inputs: KeyedStream[AttributionInput], resting: Resting, alarms: Alarms
) -> KeyedStream[AttributionInput]:
    """Tell those who have rested, and those whose slates close, beside what comes for anybody."""

    def mapper(batch: list[tuple[str, AttributionInput]]) -> list[tuple[str, AttributionInput]]:
        return [*batch, *resting.due(), *((key, Rested(0)) for key in alarms.due())]

    return op.flat_map_batch(step_id, inputs, mapper)


def attribute(step_id: str, inputs: KeyedStream[AttributionInput], step: AttributeStep) -> KeyedStream[Attributed]:
    """Decide slates once their windows have closed."""
    return op.stateful_batch(step_id, inputs, lambda packed: AttributeLogic(packed, step))
