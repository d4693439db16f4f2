"""The step that keeps each user's interest profile and says which slates are due."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.codecs import dead_letter
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import Received
from models.config import ProfileConfig
from models.events import EventConfig
from models.experiments.assign.assignment import NOTHING, Experiments, Held
from models.items import ItemTable
from models.messages import Assignment, DeadLetter, Erasure, Event, Request
from models.strategy import Strategy
from models.user.profile import EventOutcome
from models.user.query import Query
from models.user.state import UserState

Output = Query | Assignment | DeadLetter | Erasure
State = tuple[bytes, Held, tuple[int, ...], int]
"""The packed profile, the last assignment, the newest requests' hashes, and the run of offsets that the last slate
belongs to."""


@dataclass(frozen=True)
class ProfileStep:
    """What every user's logic shares."""

    table: ItemTable
    experiments: Experiments
    strategy: Strategy
    config: ProfileConfig
    events: EventConfig
    clock: Callable[[], datetime]
    """Aware; decides when an idle user is forgotten."""
    counts: Counter[str]


def profile_step(
    settings: Settings, experiments: Experiments, table: ItemTable, clock: Callable[[], datetime], counts: Counter[str]
) -> ProfileStep:
    """Gather from the settings what the step needs."""
    return ProfileStep(table, experiments, settings.strategy, settings.profile, settings.events, clock, counts)


class ProfileLogic(StatefulBatchLogic[Received, Output, State]):
    """One user."""

    def __init__(self, state: State | None, step: ProfileStep) -> None:
        self._step = step
        self._held: Held = NOTHING if state is None else state[1]
        packed = None if state is None else (state[0], state[2], state[3])
        self._user = UserState(step.config, step.events, packed)
        self._rest = timedelta(milliseconds=step.config.expire_after_ms)
        self._active_at = step.clock()
        self._notify_at = self._active_at + self._rest

    def on_batch(self, values: list[Received]) -> tuple[Iterable[Output], bool]:
        """Apply each message; emit the slates that are due, new assignments, late events and erasures."""
        step = self._step
        self._active_at = step.clock()
        emitted: list[Output] = []
        for message, record in values:
            if isinstance(message, Erasure):
                self._user, self._held = UserState(step.config, step.events), NOTHING
                step.counts["erased"] += 1
                emitted.append(message)
            elif isinstance(message, Event):
                emitted += self._apply(message, record)
            elif self._user.is_due(message, record.offset):
                emitted += self._due(message)
            else:
                step.counts["duplicate"] += 1
        return emitted, self.DISCARD if isinstance(values[-1].message, Erasure) else self.RETAIN

    def _apply(self, event: Event, record: Record) -> Iterator[Output]:
        step, user = self._step, self._user
        outcome = user.apply(event, step.table)
        step.counts["no_consent" if outcome is None else outcome.value] += 1
        if outcome is EventOutcome.LATE:
            older = "older than the user's newest event by more than the allowed lateness"
            yield dead_letter("events", record, "late", older)
        elif outcome is EventOutcome.APPLIED:
            if user.is_due(event, record.offset):
                yield from self._due(event)
            elif step.events.is_trigger(event.event_type):
                step.counts["conflated"] += 1

    def _due(self, message: Event | Request) -> Iterator[Output]:
        step = self._step
        assigned = step.experiments.assign(message.user_id, message.timestamp, self._held)
        if assigned is None:
            yield self._user.due(message, step.strategy)
            return
        if assigned.digest != self._held[0]:
            self._held = assigned.digest, assigned.variant
            yield Assignment(
                message.user_id, assigned.experiment, assigned.variant, assigned.bucket, message.timestamp,
                assigned.digest, None if assigned.shares is None else list(assigned.shares),
            )  # fmt: skip
        yield self._user.due(
            message,
            assigned.strategy,
            experiment=assigned.experiment,
            variant=assigned.variant,
            rival=assigned.rival,
        )

    def on_notify(self) -> tuple[Iterable[Output], bool]:
        """Forget a user who has rested since; the notification may be older than the last message."""
        self._notify_at = self._active_at + self._rest
        return (), self.DISCARD if self._notify_at <= self._step.clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to look again whether the user has gone."""
        return self._notify_at

    def snapshot(self) -> State:
        """Pack the user."""
        packed, requests, run = self._user.pack()
        return packed, self._held, requests, run


def profile(step_id: str, received: KeyedStream[Received], step: ProfileStep) -> KeyedStream[Output]:
    """Keep one profile a user; emit what is due."""
    return op.stateful_batch(step_id, received, lambda state: ProfileLogic(state, step))
