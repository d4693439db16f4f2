"""What events mean: which of them count, which make a slate, and which give the user an item."""

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from models.messages import Event
from models.names import EVENT_WEIGHTS, LOCATION_FIELDS, OWNING_TYPES
from models.segments import DEFAULT_FIELDS


@dataclass(frozen=True, slots=True)
class EventConfig:
    """What events mean, the same in every flow, in training and in backtests.

    Raises
    ------
    ValueError : segments would be made of where a user is, and published.
    """

    weights: dict[str, float] = field(default_factory=EVENT_WEIGHTS.copy)
    """Weight of each known event type; an event of any other type is a dead letter."""
    owning_types: frozenset[str] = OWNING_TYPES
    """Event types after which the user has the item."""
    triggers: frozenset[str] | None = None
    """Event types that make a slate; none: all but impressions."""
    conflate: Annotated[int, Meta(ge=1)] = 1
    """Of a user's triggers in a run of so many offsets of a partition only the first makes a slate; 1: each does."""
    segment_fields: tuple[str, ...] = DEFAULT_FIELDS
    """Context fields whose values make the trending segments, the one that counts most first; `daypart` is the quarter
    of the day, by the context's `hour`, else UTC's."""
    text_field: str | None = None
    """Context field that holds what the user wrote: items are then sought by their likeness to it, as by a request's
    `query`; none: there is no such field."""

    def __post_init__(self) -> None:
        if named := [name for name in self.segment_fields if name in LOCATION_FIELDS]:
            raise ValueError(
                f"`segment_fields` names {named[0]!r}: what trends would keep where users are. Send the name of a "
                "district in the context, and name that"
            )

    def is_act(self, event: Event) -> bool:
        """Say whether an event is something that the user wanted: only that is learned from and predicted."""
        return event.consent and self.weights.get(event.event_type, 0.0) > 0

    def is_trigger(self, event_type: str) -> bool:
        """Say whether an event of this type makes a slate."""
        if self.triggers is None:
            return event_type in self.weights and event_type != "impression"
        return event_type in self.triggers
