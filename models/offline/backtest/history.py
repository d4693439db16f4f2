"""Users as a backtest follows them: the flow's own state of each, and what only a backtest asks of it."""

from collections.abc import Hashable
from dataclasses import replace

from models.items import ItemTable
from models.messages import Event, Request
from models.numeric.ids import hash64
from models.offline.backtest.config import BacktestConfig
from models.strategy import Strategy
from models.user.query import Query
from models.user.state import UserState

_ANY = Strategy()
"""Stands in every query until a contender puts its own there."""


class History:
    """What one user has done so far."""

    def __init__(self, config: BacktestConfig) -> None:
        self._config = config
        self._user = UserState(config.profile, config.events)
        self._seen: dict[int, None] = {}
        self._trigger: Event | None = None
        self._session: Hashable = None
        self.n_acts = 0

    def add(self, event: Event, offset: int, session: Hashable, table: ItemTable) -> bool:
        """Take in an event of some session; say whether it makes a slate.

        Parameters
        ----------
        offset : number of the event in its file, which is taken for the offset in a partition.
        """
        is_due = self._user.take(event, offset, table)
        if is_due:
            self._trigger, self._session = event, session
        if self._config.events.is_act(event):
            self._seen[hash64(event.item_id)] = None
            self.n_acts += 1
        return is_due

    def query(self, message: Event | Request) -> Query:
        """Say what the flow's slate for a message of the user would have to know now."""
        query = self._user.due(message, _ANY)
        if self._config.exclude_seen:
            # The profile's own memory is bounded; here, whoever says unseen means it.
            query.owned = tuple(self._seen)
        return query

    def query_before(self, target: Event, session: Hashable) -> Query:
        """Say what a slate for the user's last trigger has to know as of the time of the target, which is not known.

        What the user was on and wrote at the trigger counts only if the target is of the same session. Before any
        trigger the slate is that of an opened page, on which nothing is known of the visit.
        """
        if self._trigger is None:
            return self.query(Request(target.event_id, target.user_id, target.timestamp))
        query = self.query(replace(self._trigger, timestamp=target.timestamp))
        if session != self._session:
            query.current_item, query.query = 0, None
        return query
