"""The past as a backtest reads it: which session an event belongs to, and consecutive repeats taken out."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

from models.messages import Event

IsAct = Callable[[Event], bool]
"""Says whether an event is something that the user wanted: what a backtest predicts."""


class SessionNames:
    """Names the session of each event, given in time order.

    A session is what the platform called so; events without a session id share one as long as no pause is longer
    than the gap. Two users never share a session.
    """

    def __init__(self, gap_ms: int) -> None:
        self._gap_ms = gap_ms
        self._newest: dict[str, tuple[int, int]] = {}

    def of(self, event: Event) -> Hashable:
        """Name the event's session."""
        if event.session_id is not None:
            return event.user_id, event.session_id
        last_at, number = self._newest.get(event.user_id, (event.timestamp, 0))
        if event.timestamp - last_at > self._gap_ms:
            number += 1
        self._newest[event.user_id] = (event.timestamp, number)
        return event.user_id, number


def sessions_of(events: Sequence[Event], gap_ms: int) -> list[list[Event]]:
    """Part events, in time order, into their sessions, in the order in which those began."""
    names = SessionNames(gap_ms)
    sessions: defaultdict[Hashable, list[Event]] = defaultdict(list)
    for event in events:
        sessions[names.of(event)].append(event)
    return list(sessions.values())


def collapse_repeats(events: Sequence[Event], gap_ms: int, is_act: IsAct) -> list[Event]:
    """Leave out each act on the item of the session's act before it; what is no act stays."""
    names = SessionNames(gap_ms)
    newest: dict[Hashable, str] = {}
    kept = []
    for event in events:
        session = names.of(event)
        if is_act(event):
            if newest.get(session) == event.item_id:
                continue
            newest[session] = event.item_id
        kept.append(event)
    return kept
