"""Placements read from settings, and the rules that they keep.

strategy: {n_items: 10}
placements:
  cart:
    strategy: {n_items: 4, sources: {covisitation: 1}}
    triggers: [cart]
  mail: {strategy: {n_items: 6, exploration_slots: 0}}
"""

from collections.abc import Collection

import msgspec

from dataflows.run.conversion import check, suggest
from models.events import EventConfig
from models.experiments.assign.declaration import DeclarationError
from models.messages import Id
from models.names import DEFAULT_PLACEMENT
from models.placements import Placement
from models.strategy import Strategy, changed


def placements_of(entries: object, strategy: Strategy, events: EventConfig) -> dict[str, Placement]:
    """Make placements of plain values; those that are made already are taken as they are.

    Parameters
    ----------
    strategy : what those of the placements are like where they say nothing else.
    events : which event types there are, and which make slates.

    Raises
    ------
    DeclarationError : with the path of the part at fault.
    """
    if isinstance(entries, dict) and all(isinstance(entry, Placement) for entry in entries.values()):
        return entries
    kind = dict[Id, Placement]
    check(entries, kind)
    declared = msgspec.convert(entries, dict[str, dict[str, object]])
    if DEFAULT_PLACEMENT in declared:
        raise DeclarationError("it is there already: its strategy is `strategy` itself", [DEFAULT_PLACEMENT])
    for entry in declared.values():
        entry["strategy"] = changed(strategy, msgspec.convert(entry.get("strategy", {}), dict[str, object]))
    placements = msgspec.convert(declared, kind)
    taken: dict[str, str] = {}
    for name, placement in placements.items():
        for event_type in sorted(placement.triggers):
            _check_trigger(event_type, events, taken.setdefault(event_type, name), name)
    return placements


def _check_trigger(event_type: str, events: EventConfig, owner: str, name: str) -> None:
    path = [name, "triggers"]
    if event_type not in events.weights:
        raise DeclarationError(f"no event has the type {event_type!r}: {suggest(event_type, events.weights)}", path)
    if not events.is_trigger(event_type):
        raise DeclarationError(f"{event_type!r} makes no slate: name it in EDDY_EVENTS__TRIGGERS", path)
    if owner != name:
        raise DeclarationError(f"{event_type!r} triggers {owner!r} already: an event makes one slate", path)


def check_placement(name: str, known: Collection[str]) -> str | None:
    """Say what is wrong with a placement's name; None: nothing.

    Parameters
    ----------
    known : those that are declared.
    """
    if name == DEFAULT_PLACEMENT or name in known:
        return None
    return f"no placement is named {name!r}: {suggest(name, [DEFAULT_PLACEMENT, *known])}"
