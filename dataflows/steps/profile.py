"""The step that keeps each user's interest profile and says which slates are due."""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic
from prometheus_client import Gauge

from dataflows.codecs import dead_letter
from dataflows.following.erasures import Erasures
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import Received
from dataflows.steps.rest import Rested
from models.config import ProfileConfig
from models.events import EventConfig
from models.experiments.assign.assignment import NOTHING, Experiments, Held
from models.items import ItemTable
from models.messages import Assignment, DeadLetter, Erasure, ErasureReceipt, Event, Request
from models.placements import Placements
from models.user.codec import check
from models.user.profile import EventOutcome
from models.user.query import Query
from models.user.state import PackedUser, UserState

Output = Query | Assignment | DeadLetter | Erasure | ErasureReceipt
State = tuple[Any, ...]
"""The packed profile, the last assignment, the newest requests' hashes, the run of offsets that the last slate belongs
to, and the erasure that the user came back after; earlier releases kept no such."""


MAX_AWAKE = 10_000
"""Users who are kept as objects, which take three times what a packed one does."""


class Awake:
    """Who acted last; of more than there is room for, whoever has rested longest is packed."""

    def __init__(self, room: int = MAX_AWAKE) -> None:
        self._room = room
        self._users: OrderedDict[ProfileLogic, None] = OrderedDict()
        self._changed: deque[ProfileLogic] = deque(maxlen=room)
        """Who has acted and is not packed, or was when this was noted."""

    def note(self, user: "ProfileLogic") -> None:
        """Note that a user acts."""
        if user.is_packed or user not in self._users:
            self._changed.append(user)
        self._users[user] = None
        self._users.move_to_end(user)
        if len(self._users) > self._room:
            self._users.popitem(last=False)[0].rest()

    def drop(self, user: "ProfileLogic") -> None:
        """Forget a user."""
        self._users.pop(user, None)

    def pack_one(self) -> None:
        """Pack somebody who has acted, so that it need not be done while everything waits for a snapshot."""
        while self._changed:
            user = self._changed.popleft()
            if user in self._users and not user.is_packed:
                user.pack()
                return


@dataclass(frozen=True)
class ProfileStep:
    """What every user's logic shares."""

    table: ItemTable
    experiments: Experiments
    placements: Placements
    config: ProfileConfig
    events: EventConfig
    clock: Callable[[], datetime]
    """Aware; decides when an idle user is forgotten."""
    counts: Counter[str]
    erasures: Erasures
    users: Gauge
    """How many users there are."""
    rest: timedelta
    """After which a user is forgotten."""
    is_swept: bool = False
    """Whether those who have rested are told so (`dataflows.steps.rest`), and the engine need not wake them."""
    awake: Awake = field(default_factory=Awake)
    held: dict[Held, Held] = field(default_factory=dict)
    """Assignments, each kept once, however many users have it."""


def profile_step(
    settings: Settings,
    experiments: Experiments,
    table: ItemTable,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erasures: Erasures | None = None,
    users: Gauge | None = None,
    *,
    is_swept: bool = False,
) -> ProfileStep:
    """Gather from the settings what the step needs."""
    return ProfileStep(
        table,
        experiments,
        Placements(settings.strategy, settings.placements),
        settings.profile,
        settings.events,
        clock,
        counts,
        erasures or Erasures(),
        users or Gauge("users", "of nobody who asks", registry=None),
        timedelta(milliseconds=settings.profile.expire_after_ms),
        is_swept,
    )


class ProfileLogic(StatefulBatchLogic[Received | Rested, Output, State]):
    """One user, packed until something arrives.

    Raises
    ------
    SnapshotError : the state cannot be read.
    """

    __slots__ = ("_active_at", "_erased_until", "_held", "_n_erased", "_packed", "_step", "_unpacked", "_wake_at")

    def __init__(self, state: State | None, step: ProfileStep) -> None:
        self._step = step
        self._held: Held = NOTHING if state is None else step.held.setdefault(state[1], state[1])
        self._packed: PackedUser | None = None
        """None where the user is new, or has acted since they were packed."""
        self._unpacked: UserState | None = None
        """None while the user rests, or is new."""
        if state is not None:
            check(state[0], step.config, step.events)
            self._packed = state[0], state[2], state[3]
        self._erased_until: int = state[4] if state is not None and len(state) > 4 else 0
        self._n_erased = 0
        """Events that went before the erasure itself came by: the process knew of it already."""
        self._active_at: datetime | None = None if step.is_swept else step.clock()
        """When a message last came; None where none has come to this process and the store knows."""
        self._wake_at = None if self._active_at is None else self._active_at + step.rest
        step.users.inc()

    @property
    def _user(self) -> UserState:
        """The user, unpacked, as whoever changes them needs it: what was packed before no longer holds."""
        if self._unpacked is None:
            self._unpacked = UserState(self._step.config, self._step.events, self._packed)
        self._packed = None
        return self._unpacked

    @_user.setter
    def _user(self, user: UserState) -> None:
        self._unpacked, self._packed = user, None

    @property
    def is_packed(self) -> bool:
        """Whether the user has not changed since they were packed."""
        return self._packed is not None

    def pack(self) -> PackedUser:
        """Pack the user, who may go on acting."""
        if self._packed is None:
            self._packed = self._user.pack()
        return self._packed

    def rest(self) -> None:
        """Keep no more than the packed user until something arrives."""
        self.pack()
        self._unpacked = None

    def on_batch(self, values: list[Received | Rested]) -> tuple[Iterable[Output], bool]:
        """Apply each message; emit the slates that are due, new assignments, late events and erasures."""
        received = [value for value in values if not isinstance(value, Rested)]
        if not received:
            return (), self._retain(self._is_active)
        self._step.awake.note(self)
        self._active_at = self._step.clock()
        # One list that all add to: as generators within each other they took a tenth of an event's time.
        emitted: list[Output] = []
        for message, record, key in received:
            self._take(message, record, key, emitted)
        return emitted, self._retain(not self._is_nobody)

    def _take(self, message: Event | Request | Erasure, record: Record, key: str, emitted: list[Output]) -> None:
        """Apply a message; add what is to be emitted."""
        step = self._step
        if isinstance(message, Erasure):
            step.erasures.note(message.user_id, message.requested_at)
            self._forget_until(step.erasures.until(key))
            self._erase(message, key, emitted)
            return
        self._forget_until(step.erasures.until(key))
        if step.erasures.covers(key, message.timestamp, record.timestamp):
            step.counts["before_erasure"] += 1
        elif not message.consent:
            self._answer(message, record, emitted)
        elif isinstance(message, Event):
            self._apply(message, record, emitted)
        elif self._user.is_due(message, record.offset):
            self._due(message, record, emitted)
        else:
            step.counts["duplicate"] += 1

    def _retain(self, is_somebody: bool) -> bool:
        """Tell the engine whether to keep the user."""
        if not is_somebody:
            self._step.users.dec()
            self._step.awake.drop(self)
        return self.RETAIN if is_somebody else self.DISCARD

    @property
    def _is_nobody(self) -> bool:
        """Whether nothing is known that a state would have to hold."""
        return self._user.is_new and self._held == NOTHING and not self._n_erased

    def _forget_until(self, requested_at: int) -> None:
        """Drop what is from before an erasure: of this process's lifetime, or of that of an older store."""
        if requested_at > self._erased_until:
            self._erased_until = requested_at
            self._n_erased += self._user.profile.n_events
            self._user, self._held = UserState(self._step.config, self._step.events), NOTHING

    def _erase(self, erasure: Erasure, key: str, emitted: list[Output]) -> None:
        """Report what went, and have the topics' messages taken away: so the next slate is assigned anew."""
        self._step.counts["erased"] += 1
        self._held = NOTHING
        at = int(self._step.clock().timestamp() * 1_000)
        emitted += (
            erasure,
            ErasureReceipt(
                key, erasure.erasure_id, erasure.requested_at, "recommend.profile", "events", self._n_erased, 0, at
            ),
        )
        self._n_erased = 0

    def _answer(self, message: Event | Request, record: Record, emitted: list[Output]) -> None:
        """Answer without consent: from what the message says itself, as if the user had never been seen."""
        step = self._step
        step.counts["no_consent"] += 1
        if isinstance(message, Request) or step.events.is_trigger(message.event_type):
            placement = step.placements.of(message)
            strategy = step.placements.strategy_of(placement)
            query = UserState(step.config, step.events).due(message, strategy, placement=placement)
            query.written_at = record.timestamp
            emitted.append(query)

    def _apply(self, event: Event, record: Record, emitted: list[Output]) -> None:
        step, user = self._step, self._user
        outcome = user.apply(event, step.table)
        if outcome is not None:
            step.counts[outcome.value] += 1
        if outcome is EventOutcome.LATE:
            older = "older than the user's newest event by more than the allowed lateness"
            emitted.append(dead_letter("events", record, "late", older))
        elif outcome is EventOutcome.APPLIED:
            if user.is_due(event, record.offset):
                self._due(event, record, emitted)
            elif step.events.is_trigger(event.event_type):
                step.counts["conflated"] += 1

    def _due(self, message: Event | Request, record: Record, emitted: list[Output]) -> None:
        step = self._step
        placement = step.placements.of(message)
        assigned = step.experiments.assign(message.user_id, message.timestamp, self._held)
        if assigned is None or placement not in assigned.placements:
            query = self._user.due(message, step.placements.strategy_of(placement), placement=placement)
            query.written_at = record.timestamp
            emitted.append(query)
            return
        if assigned.digest != self._held[0]:
            held = assigned.digest, assigned.variant
            self._held = step.held.setdefault(held, held)
            shares = None if assigned.shares is None else list(assigned.shares)
            emitted.append(
                Assignment(
                    message.user_id,
                    assigned.experiment,
                    assigned.variant,
                    assigned.bucket,
                    message.timestamp,
                    assigned.digest,
                    shares,
                )
            )
        query = self._user.due(
            message,
            assigned.strategy,
            experiment=assigned.experiment,
            variant=assigned.variant,
            rival=assigned.rival,
            placement=placement,
        )
        query.written_at = record.timestamp
        emitted.append(query)

    @property
    def _is_active(self) -> bool:
        """Whether a message has come that is not older than a user may rest."""
        return self._active_at is not None and self._active_at + self._step.rest > self._step.clock()

    def on_notify(self) -> tuple[Iterable[Output], bool]:
        """Forget a user who has rested since; the notification may be older than the last message."""
        self._wake_at = None if self._active_at is None else self._active_at + self._step.rest
        return (), self._retain(self._is_active)

    def notify_at(self) -> datetime | None:
        """Return when to look again whether the user has gone, where nobody else tells."""
        return self._wake_at

    def snapshot(self) -> State:
        """Pack the user."""
        packed, requests, run = self.pack()
        return packed, self._held, requests, run, self._erased_until


def profile(step_id: str, received: KeyedStream[Received | Rested], step: ProfileStep) -> KeyedStream[Output]:
    """Keep one profile a user; emit what is due."""
    return op.stateful_batch(step_id, received, lambda state: ProfileLogic(state, step))
