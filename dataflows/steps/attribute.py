"""The step that attributes feedback to slates, a user a key."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from models.config import AttributionConfig
from models.messages import Event
from models.online.attribution import UserAttribution
from models.online.outcome import ClosedSlate, ShownSlate

AttributionInput: TypeAlias = ShownSlate | Event | None
"""A slate or an event; None: the user was erased."""


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


class AttributeLogic(StatefulBatchLogic[AttributionInput, ClosedSlate, bytes]):
    """One user.

    Slates and events come on two topics, so event time has come as far as the slower of them; each goes on with the
    clock from its last message. So a replay that reads one topic ahead of the other closes nothing too early, and an
    idle user's slates are decided in time.
    """

    def __init__(self, packed: bytes | None, step: AttributeStep) -> None:
        self._step = step
        if packed is None:
            self._user = UserAttribution(step.config, step.weights, step.counts)
        else:
            self._user = UserAttribution.unpack(packed, step.config, step.weights, step.counts)
        self._event_seen_at = self._slate_seen_at = step.clock()

    def on_batch(self, values: list[AttributionInput]) -> tuple[Iterable[ClosedSlate], bool]:
        """Take slates and events; emit the slates whose windows have closed."""
        counts, now = self._step.counts, self._step.clock()
        for message in values:
            if isinstance(message, ShownSlate):
                self._slate_seen_at = now
                refusal = self._user.show(message)
            elif message is not None:
                self._event_seen_at = now
                refusal = self._user.take(message)
            else:
                self._user = UserAttribution(self._step.config, self._step.weights, counts)
                refusal = None
            if refusal not in {None, "no_feedback"}:
                counts[f"attribution_{refusal}"] += 1
        return self._close(now), self.DISCARD if values[-1] is None else self.RETAIN

    def on_notify(self) -> tuple[Iterable[ClosedSlate], bool]:
        """Close what has waited long enough; forget a user who has been idle."""
        now = self._step.clock()
        closed = self._close(now)
        return closed, self.DISCARD if self._forget_at() <= now else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when the next slate closes if nothing more comes, or when to forget the user."""
        next_at = self._user.next_closing_at()
        if next_at is None:
            return self._forget_at()
        now = self._step.clock()
        return now + timedelta(milliseconds=max(next_at - self._watermark_at(now), 1))

    def snapshot(self) -> bytes:
        """Pack the user."""
        return self._user.pack()

    def _close(self, now: datetime) -> list[ClosedSlate]:
        closed = self._user.close(self._watermark_at(now))
        self._step.counts["attributed_slates"] += len(closed)
        return closed

    def _watermark_at(self, now: datetime) -> int:
        """Return the event time, Unix ms, up to which both topics have come."""

        def moved(newest_at: int, seen_at: datetime) -> int:
            return newest_at + int((now - seen_at) / timedelta(milliseconds=1))

        user = self._user
        return min(moved(user.events_at, self._event_seen_at), moved(user.slates_at, self._slate_seen_at))

    def _forget_at(self) -> datetime:
        return max(self._event_seen_at, self._slate_seen_at) + self._step.forget_after


def attribute(step_id: str, inputs: KeyedStream[AttributionInput], step: AttributeStep) -> KeyedStream[ClosedSlate]:
    """Decide slates once their windows have closed."""
    return op.stateful_batch(step_id, inputs, lambda packed: AttributeLogic(packed, step))
