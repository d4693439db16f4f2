"""The past as a backtest reads it: in time order, by sessions, and without consecutive repeats."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace

from models.config import ProfileConfig
from models.messages import Event
from models.numeric.ids import hash64
from models.numeric.windows import SessionWindows
from models.offline.backtest.config import BacktestConfig


class SessionNames:
    """Names the session of each event, given in time order, by the rule of profiles (`models.numeric.windows`).

    Two users never share a session.
    """

    def __init__(self, config: ProfileConfig) -> None:
        self._users: defaultdict[str, SessionWindows] = defaultdict(
            lambda: SessionWindows(config.session_gap_ms, config.lateness_ms)
        )

    def of(self, event: Event) -> Hashable:
        """Name the event's session; None where the user does not consent to be followed.

        Raises
        ------
        ValueError
            Where the event comes too late to be placed: the events are in no time order.
        """
        if not event.consent:
            return None
        session_hash = hash64(event.session_id) if event.session_id else 0
        session = self._users[event.user_id].place(event.timestamp, session_hash)
        if session is None:
            raise ValueError(f"the event {event.event_id} lies far behind those before it: sort events by time first")
        return event.user_id, session_hash, session.started_at


def prepared(events: Sequence[Event], config: BacktestConfig) -> list[Event]:
    """Put events in time order, without consecutive repeats where those are to be collapsed."""
    ordered = sorted(events, key=lambda event: event.timestamp)
    return ordered if config.repeats == "keep" else collapse_repeats(ordered, config)


def collapse_repeats(events: Sequence[Event], config: BacktestConfig) -> list[Event]:
    """Leave out each act on the item of the session's act before it; what is no act stays."""
    names = SessionNames(config.profile)
    newest: dict[Hashable, str] = {}
    kept = []
    for event in events:
        session = names.of(event)
        if config.events.is_act(event):
            if newest.get(session) == event.item_id:
                continue
            newest[session] = event.item_id
        kept.append(event)
    return kept


def by_session(events: Sequence[Event], config: ProfileConfig) -> list[Event]:
    """Make each session of events, in time order, a user of its own."""
    names = SessionNames(config)
    return [replace(event, user_id=repr(names.of(event))) for event in events]


def sessions_of(events: Sequence[Event], config: ProfileConfig) -> list[list[tuple[int, Event]]]:
    """Split events, in time order, into sessions of (index, event), in the order in which the sessions began."""
    names = SessionNames(config)
    sessions: defaultdict[Hashable, list[tuple[int, Event]]] = defaultdict(list)
    for index, event in enumerate(events):
        if (session := names.of(event)) is not None:
            sessions[session].append((index, event))
    return list(sessions.values())
