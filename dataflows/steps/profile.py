"""The step that keeps each user's interest profile and says which slates are due."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.codecs import dead_letter
from dataflows.records import Record
from dataflows.steps.decode import Received
from models.config import ProfileConfig
from models.events import EventConfig
from models.experiments.assign.assignment import NOTHING, Experiments, Held
from models.items import ItemTable
from models.messages import Assignment, DeadLetter, Erasure, Event, Request
from models.numeric.ids import hash64
from models.segments import EVERYBODY, hashes_of, segments_of
from models.strategy import Strategy
from models.user.codec import pack, unpack
from models.user.profile import EventOutcome, Profile
from models.user.query import Query

Output = Query | Assignment | DeadLetter | Erasure
State = tuple[bytes, Held, tuple[int, ...], int]
"""The packed profile, the last assignment, the newest requests' hashes, and the run of offsets that the last slate
belongs to."""

MAX_REQUESTS = 32
MAX_TEXT = 1_000
"""Characters of what a user wrote that are looked at, as long as a query may be."""
_EVERYBODY = hash64(EVERYBODY)


@dataclass(frozen=True)
class ProfileStep:
    """What every user's logic shares."""

    table: ItemTable
    experiments: Experiments
    strategy: Strategy
    config: ProfileConfig
    events: EventConfig
    triggers: frozenset[str]
    segment_fields: tuple[str, ...]
    text_field: str | None
    """Of the context: what the user wrote."""
    events_topic: str
    conflate: int
    """Of a user's triggers in a run of so many offsets only the first makes a slate; 1: each."""
    clock: Callable[[], datetime]
    """Aware; decides when an idle user is forgotten."""
    counts: Counter[str]


class ProfileLogic(StatefulBatchLogic[Received, Output, State]):
    """One user."""

    def __init__(self, state: State | None, step: ProfileStep) -> None:
        self._step = step
        self._held = NOTHING
        self._requests: tuple[int, ...] = ()
        self._run = -1
        if state is None:
            self._profile = Profile(step.config, step.events)
        else:
            packed, self._held, self._requests, self._run = state
            self._profile = unpack(packed, step.config, step.events)
        self._rest = timedelta(milliseconds=step.config.expire_after_ms)
        self._active_at = step.clock()
        self._notify_at = self._active_at + self._rest

    def on_batch(self, values: list[Received]) -> tuple[Iterable[Output], bool]:
        """Apply each message; emit the slates that are due, new assignments, late events and erasures."""
        self._active_at = self._step.clock()
        emitted: list[Output] = []
        for message, record in values:
            if isinstance(message, Erasure):
                self._forget()
                emitted.append(message)
            elif isinstance(message, Event):
                outcome = self._apply(message)
                if outcome is EventOutcome.LATE:
                    newest = "older than the user's newest event by more than the allowed lateness"
                    emitted.append(dead_letter(self._step.events_topic, record, "late", newest))
                elif outcome is EventOutcome.APPLIED and self._triggers(message, record):
                    emitted += self._due(message)
            elif self._is_new(message):
                emitted += self._due(message)
        return emitted, self.DISCARD if isinstance(values[-1].message, Erasure) else self.RETAIN

    def _forget(self) -> None:
        self._profile = Profile(self._step.config, self._step.events)
        self._held = NOTHING
        self._requests = ()
        self._run = -1
        self._step.counts["erased"] += 1

    def _apply(self, event: Event) -> EventOutcome | None:
        """Apply an event; None where the user does not consent."""
        step = self._step
        if not event.consent:
            step.counts["no_consent"] += 1
            return None
        table = step.table
        attributes, price = table.facts(hash64(event.item_id))
        # What the user is taken to like less is popular, and the same whenever the event is replayed.
        negative = table.popular_attributes(_EVERYBODY, hash64(event.event_id))
        outcome = self._profile.apply(event, attributes, price, negative)
        step.counts[outcome.value] += 1
        return outcome

    def _triggers(self, event: Event, record: Record) -> bool:
        """Say whether an event makes a slate: by its type and its offset alone, so a replay says the same."""
        step = self._step
        if event.event_type not in step.triggers:
            return False
        if step.conflate > 1:
            run = record.offset // step.conflate
            if run == self._run:
                step.counts["conflated"] += 1
                return False
            self._run = run
        return True

    def _is_new(self, request: Request) -> bool:
        name = hash64(request.request_id)
        if name in self._requests:
            self._step.counts["duplicate"] += 1
            return False
        self._requests = (*self._requests[1 - MAX_REQUESTS :], name)
        return True

    def _due(self, message: Event | Request) -> Iterable[Output]:
        step = self._step
        assigned = step.experiments.assign(message.user_id, message.timestamp, self._held)
        if assigned is not None and assigned.digest != self._held[0]:
            self._held = assigned.digest, assigned.variant
            yield Assignment(
                message.user_id, assigned.experiment, assigned.variant, assigned.bucket, message.timestamp,
                assigned.digest, None if assigned.shares is None else list(assigned.shares),
            )  # fmt: skip
        is_request = isinstance(message, Request)
        named = segments_of(step.segment_fields, message.context, message.timestamp)
        yield self._profile.query(
            trigger="request" if is_request else "event",
            trigger_id=message.request_id if isinstance(message, Request) else message.event_id,
            user_id=message.user_id,
            at=message.timestamp,
            strategy=assigned.strategy if assigned else step.strategy,
            experiment=assigned.experiment if assigned else None,
            variant=assigned.variant if assigned else None,
            rival=assigned.rival if assigned else None,
            current_item=hash64(message.item_id) if message.item_id else 0,
            segments=hashes_of(named),
            context=message.context,
            candidates=message.candidates if isinstance(message, Request) else None,
            query=self._text(message),
            n_items=message.n_items if isinstance(message, Request) else None,
        )

    def _text(self, message: Event | Request) -> str | None:
        """Return what items are sought by: a request's query, else what the user wrote."""
        if isinstance(message, Request) and message.query:
            return message.query
        field = self._step.text_field
        written = message.context.get(field) if field and message.context else None
        return written[:MAX_TEXT] if isinstance(written, str) else None

    def on_notify(self) -> tuple[Iterable[Output], bool]:
        """Forget a user who has rested since; the notification may be older than the last message."""
        self._notify_at = self._active_at + self._rest
        return (), self.DISCARD if self._notify_at <= self._step.clock() else self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to look again whether the user has gone."""
        return self._notify_at

    def snapshot(self) -> State:
        """Pack the user."""
        return pack(self._profile), self._held, self._requests, self._run


def profile(step_id: str, received: KeyedStream[Received], step: ProfileStep) -> KeyedStream[Output]:
    """Keep one profile a user; emit what is due."""
    return op.stateful_batch(step_id, received, lambda state: ProfileLogic(state, step))
