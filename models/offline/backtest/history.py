"""Users as a backtest follows them: a profile each, and the query that a slate for them would start from."""

from collections.abc import Hashable

from models.items import ItemTable
from models.messages import Context, Event
from models.numeric.ids import hash64
from models.offline.backtest.config import BacktestConfig
from models.segments import EVERYBODY, hashes_of, segments_of
from models.strategy import Strategy
from models.user.profile import Profile
from models.user.query import Query

_EVERYBODY = hash64(EVERYBODY)
_ANY = Strategy()


class History:
    """What one user has done so far, kept as the flow keeps it."""

    def __init__(self, config: BacktestConfig) -> None:
        self._config = config
        self._profile = Profile(config.profile, config.events)
        self._seen: dict[int, None] = {}
        self._current = 0
        self._session: Hashable = None
        self._context: Context | None = None
        self.n_acts = 0

    def add(self, event: Event, session: Hashable, table: ItemTable) -> None:
        """Take in an event of some session, whether it teaches anything or not."""
        if not event.consent:
            return
        item = hash64(event.item_id)
        attributes, price = table.facts(item)
        negative = table.popular_attributes(_EVERYBODY, hash64(event.event_id))
        self._profile.apply(event, attributes, price, negative)
        if self._config.events.is_act(event):
            self._current, self._session = item, session
            self._context = event.context
            self._seen[item] = None
            self.n_acts += 1

    def query(self, user_id: str, trigger_id: str, at: int, session: Hashable) -> Query:
        """Say all that a slate in some session has to know; contenders put in their own strategy.

        The user is on the item of their last act as long as the session is the same.
        """
        named = segments_of(self._config.events.segment_fields, self._context, at)
        query = self._profile.query(
            trigger="event",
            trigger_id=trigger_id,
            user_id=user_id,
            at=at,
            strategy=_ANY,
            experiment=None,
            variant=None,
            current_item=self._current if session == self._session else 0,
            segments=hashes_of(named),
            context=self._context,
        )
        if self._config.exclude_seen:
            # The profile's own memory is bounded; here, whoever says unseen means it.
            query.owned = tuple(self._seen)
        return query
