"""A user as the flow keeps one: the only way from a message to a query, for the flow, training and backtests alike."""

from typing import TypeAlias

from models.config import ProfileConfig
from models.events import EventConfig
from models.items import ItemTable
from models.items.table import NO_ATTRIBUTES
from models.locations import location_of, without_location
from models.messages import Event, Request
from models.names import DEFAULT_PLACEMENT
from models.numeric.ids import hash64
from models.segments import EVERYBODY, hashes_of, segments_of
from models.strategy import Strategy
from models.user.codec import pack, unpack
from models.user.profile import EventOutcome, Profile
from models.user.query import Query

MAX_REQUESTS = 32
"""Newest requests of a user that are remembered, so that one that comes twice is answered once."""
MAX_TEXT = 1_000
"""Characters of what a user wrote that are looked at, as long as a query may be."""
N_DRAWS = 4
"""Items that are looked at for one that the user has not met."""
NO_RUN = -1
"""No event has made a slate yet."""
_EVERYBODY = hash64(EVERYBODY)

PackedUser: TypeAlias = tuple[bytes, tuple[int, ...], int]
"""The packed profile, the hashes of the newest requests, and the run of offsets that the last slate belongs to."""


class UserState:
    """One user: the profile, and what says whether a message makes a slate.

    Parameters
    ----------
    packed : what `pack` returned; none: a user of whom nothing is known.

    Raises
    ------
    SnapshotError : what was packed is of another version, or damaged.
    """

    __slots__ = ("profile", "requests", "run")

    def __init__(self, config: ProfileConfig, events: EventConfig, packed: PackedUser | None = None) -> None:
        self.profile: Profile
        self.requests: tuple[int, ...]
        if packed is None:
            self.profile, self.requests, self.run = Profile(config, events), (), NO_RUN
        else:
            data, self.requests, self.run = packed
            self.profile = unpack(data, config, events)

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever taken in, and nothing answered."""
        return not (self.profile.n_events or self.requests) and self.run == NO_RUN

    def pack(self) -> PackedUser:
        """Pack the user for the recovery store."""
        return pack(self.profile), self.requests, self.run

    def apply(self, event: Event, table: ItemTable) -> EventOutcome | None:
        """Apply an event to the profile.

        Parameters
        ----------
        table : what is known of its item, and of the one that the user is taken to like less.

        Returns
        -------
        What became of it; None where it may not be known: its user does not consent, or nobody declared its type (the
        flow's decoder makes a dead letter of that).
        """
        if not event.consent or event.event_type not in self.profile.events.weights:
            return None
        item = hash64(event.item_id)
        attributes, price = table.facts(item)
        negative = self._passed_over(item, event, table) if self.profile.events.weights[event.event_type] else 0
        return self.profile.apply(event, attributes, price, table.facts(negative)[0] if negative else NO_ATTRIBUTES)

    def _passed_over(self, item: int, event: Event, table: ItemTable) -> int:
        """Draw an item that the user did not choose: shown without a reaction, else popular; 0 where all are met.

        The draw goes by the event's id, so that it is the same whenever the event is replayed.
        """
        shown, draw = self.profile.impressions.scaled, hash64(event.event_id)
        passed_over = self._not_met(item, list(shown), draw) if shown else 0
        return passed_over or self._not_met(item, table.popular_items(_EVERYBODY), draw)

    def _not_met(self, item: int, others: list[int], draw: int) -> int:
        """Find one of some items that is neither this one nor met, from a drawn place on; 0 where there is none."""
        for place in range(draw, draw + min(N_DRAWS, len(others))):
            other = others[place % len(others)]
            if other != item and not self.profile.has_met(other):
                return other
        return 0

    def is_due(self, message: Event | Request, offset: int) -> bool:
        """Say whether a request, or an event that was applied, makes a slate, and remember that it did.

        A request makes one the first time that it comes. For an event its type and its offset alone decide, so that a
        replay decides the same.

        Parameters
        ----------
        offset : the event's, in its partition; a request's plays no part.
        """
        if isinstance(message, Request):
            request = hash64(message.request_id)
            if request in self.requests:
                return False
            self.requests = (*self.requests[1 - MAX_REQUESTS :], request)
            return True
        events = self.profile.events
        if not events.is_trigger(message.event_type):
            return False
        if events.conflate > 1:
            run = offset // events.conflate
            if run == self.run:
                return False
            self.run = run
        return True

    def take(self, message: Event | Request, offset: int, table: ItemTable) -> bool:
        """Apply a message as the flow does, and say whether it makes a slate."""
        is_applied = isinstance(message, Request) or self.apply(message, table) is EventOutcome.APPLIED
        return is_applied and self.is_due(message, offset)

    def due(
        self,
        message: Event | Request,
        strategy: Strategy,
        *,
        experiment: str | None = None,
        variant: str | None = None,
        rival: Strategy | None = None,
        placement: str = DEFAULT_PLACEMENT,
    ) -> Query:
        """Say all that the slate of a message has to know, as of the message's time; changes nothing.

        Nothing decays backwards: for a time before the newest event, sums read as of that event.

        Parameters
        ----------
        strategy, experiment, variant, rival : what the user's slates are made by, and the experiment that says so.
        placement : where the slate is to be shown.
        """
        profile, at, context = self.profile, message.timestamp, without_location(message.context)
        request = message if isinstance(message, Request) else None
        session = profile.sessions.current
        is_running = session is not None and at - session.last_at <= profile.config.session_gap_ms
        shown, newest_at = profile.impressions, profile.sessions.newest_at
        return Query(
            user_id=message.user_id,
            trigger="event" if request is None else "request",
            trigger_id=message.event_id if isinstance(message, Event) else message.request_id,
            at=at,
            strategy=strategy,
            state=profile.state.tobytes(),
            experiment=experiment,
            variant=variant,
            current_item=hash64(message.item_id) if message.item_id else 0,
            session_started_at=session.started_at if session is not None and is_running else None,
            impressions=shown.at(max(at, newest_at)) if shown.scaled else {},
            owned=tuple(profile.owned),
            n_events=profile.n_events,
            n_last_5_min=profile.minutes.count(at),
            n_last_hour=profile.hour.count(at),
            segments=hashes_of(segments_of(profile.events.segment_fields, context, at)),
            context=context,
            location=location_of(message.context),
            candidates=request.candidates if request else None,
            query=self._text(message),
            n_items=request.n_items if request else None,
            rival=rival,
            placement=placement,
            consent=message.consent,
        )

    def _text(self, message: Event | Request) -> str | None:
        """Return what items are sought by: a request's query, else what the user wrote."""
        if isinstance(message, Request) and message.query:
            return message.query
        field = self.profile.events.text_field
        written = message.context.get(field) if field and message.context else None
        return written[:MAX_TEXT] if isinstance(written, str) else None
