"""Where slates are shown: each placement with its own strategy, and the events that make its slates."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.messages import Event, Request
from models.names import DEFAULT_PLACEMENT
from models.strategy import Strategy


@dataclass(frozen=True, slots=True)
class Placement:
    """A place where slates are shown, such as `home`, `cart` or `mail`."""

    strategy: Strategy = field(default_factory=Strategy)
    """How its slates are made; what is left out is as in the `strategy` of the settings."""
    triggers: frozenset[str] = frozenset()
    """Event types whose slates are for this placement; those of all others are for `default`."""


class Placements:
    """All placements: those that are declared, and `default`, which holds where nothing else is said.

    Parameters
    ----------
    strategy : of `default`.
    declared : by name; each event type triggers one of them at most.
    """

    def __init__(self, strategy: Strategy, declared: Mapping[str, Placement]) -> None:
        self._strategies = {DEFAULT_PLACEMENT: strategy} | {name: one.strategy for name, one in declared.items()}
        self._triggered = {event_type: name for name, one in declared.items() for event_type in one.triggers}

    def of(self, message: Event | Request) -> str:
        """Name the placement that a message's slate is for."""
        if isinstance(message, Request):
            return message.placement or DEFAULT_PLACEMENT
        return self._triggered.get(message.event_type, DEFAULT_PLACEMENT)

    def strategy_of(self, placement: str) -> Strategy:
        """Return how a placement's slates are made where no experiment says otherwise; the decoder knows the names."""
        return self._strategies[placement]
