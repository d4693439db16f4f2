"""A user's interest profile, and what each event changes in it."""

from enum import Enum

from models.config import ProfileConfig
from models.events import EventConfig
from models.messages import Event
from models.numeric.arrays import Hash32s
from models.numeric.decay import DecayedSums, strongest
from models.numeric.ids import hash64
from models.numeric.windows import BOT_WINDOW_MS, SessionWindows, SlidingWindow, is_bot
from models.user.preferences import learn
from models.user.record import has_acted_on, new_state

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS

MAX_IMPRESSIONS = 64
"""Items whose impressions are kept."""
MAX_EVENT_IDS = 1_024
"""Event ids kept to tell duplicates while within the lateness; only a bot has more, and its may count twice."""
LEARNING_RATE = 0.3
"""Step of the preference learner."""

BELOW_MEAN = -0.5
"""Factor of the weight of a rating below the user's mean: poor, yet less clear than a dislike."""
SURPRISE_FADING = 0.1
"""Share of the newest surprise in its running mean."""


class EventOutcome(Enum):
    """What became of an event."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    LATE = "late"
    BOT = "bot"


class Profile:
    """The bounded state of one user.

    Within the lateness the order of arrival changes neither the recent items, the windows nor, while nothing
    is dropped for its bound, the interests. A rating's sign and the preferences do follow the order of
    arrival: they depend on what was known by then.
    """

    __slots__ = (
        "config", "event_ids", "events", "hour", "impressions", "minutes", "n_events", "n_ratings", "owned",
        "rating_mean", "sessions", "state", "surprise",
    )  # fmt: skip

    def __init__(self, config: ProfileConfig, events: EventConfig) -> None:
        self.config = config
        self.events = events
        self.n_events = 0
        """Distinct events applied, bots' and impressions included."""
        self.event_ids: dict[int, int] = {}
        """Hash of the event id to event time, in order of arrival."""
        self.sessions = SessionWindows(config.session_gap_ms, config.lateness_ms)
        self.minutes = SlidingWindow(BOT_WINDOW_MS, MINUTE_MS, config.lateness_ms)
        """Actions by 5 minutes; an impression is none."""
        self.hour = SlidingWindow(HOUR_MS, 5 * MINUTE_MS, config.lateness_ms)
        self.state = new_state(config.half_life_moment_ms, config.half_life_habit_ms)
        """(1,) recent items, interests, preferences and prices."""
        self.impressions = DecayedSums(config.half_life_impressions_ms)
        self.owned: dict[int, None] = {}
        """An ordered set, the last bought at its end."""
        self.n_ratings = 0
        self.rating_mean = 0.0
        self.surprise = 0.5
        """Running mean of how improbable the preferences found what the user did; 0.5 knows nothing."""

    def apply(self, event: Event, attributes: Hash32s, price: float, negative: Hash32s) -> EventOutcome:
        """Apply one event, in any order within the lateness.

        Parameters
        ----------
        attributes : the item's attributes, 32-bit hashes; empty when the item is unknown.
        price : the item's price; 0 is unknown.
        negative : attributes of an item that the user did not choose; empty when there is none.

        Returns
        -------
        What became of it. A duplicate and a late event change nothing; a bot's event is only counted.
        """
        event_hash = hash64(event.event_id)
        if event_hash in self.event_ids:
            return EventOutcome.DUPLICATE
        at = event.timestamp
        if self.sessions.newest_at < at - self.config.lateness_ms:
            # After a pause nothing that is remembered could still come.
            self.event_ids.clear()
        if self.sessions.place(at, hash64(event.session_id) if event.session_id else 0) is None:
            return EventOutcome.LATE
        self._remember(event_hash, at)
        self.n_events += 1
        config, events = self.config, self.events
        item, weight = hash64(event.item_id), events.weights.get(event.event_type, 0.0)
        if event.event_type == "impression" and not weight:
            self._show(item, at)
            return EventOutcome.APPLIED
        self.minutes.add(at)
        self.hour.add(at)
        limit = config.max_events_per_5_min
        if self.n_events > limit and is_bot(self.minutes, at, limit):
            return EventOutcome.BOT
        self.impressions.scaled.pop(item, None)
        if event.event_type in events.owning_types:
            self._own(item)
        if event.event_type == "rating" and event.value is not None:
            weight *= self._rate(event.value)
        if weight:
            surprise = learn(self.state, item, at, weight, price, attributes, negative, LEARNING_RATE)
            self.surprise += SURPRISE_FADING * (surprise - self.surprise)
        return EventOutcome.APPLIED

    def has_met(self, item: int) -> bool:
        """Say whether the user has an item, or has lately acted on it."""
        return item in self.owned or has_acted_on(self.state, item)

    def _remember(self, event_hash: int, at: int) -> None:
        """Keep an event's id as long as the event could come again without being late."""
        ids = self.event_ids
        ids[event_hash] = at
        late_before = self.sessions.newest_at - self.config.lateness_ms
        oldest = next(iter(ids))
        while ids[oldest] < late_before or len(ids) > MAX_EVENT_IDS:
            del ids[oldest]
            oldest = next(iter(ids))

    def _show(self, item: int, at: int) -> None:
        impressions = self.impressions
        impressions.add((item,), 1.0, at)
        if len(impressions.scaled) > MAX_IMPRESSIONS:
            kept = strongest(impressions.scaled, MAX_IMPRESSIONS)
            impressions.scaled = {key: impressions.scaled[key] for key in kept}

    def _own(self, item: int) -> None:
        self.owned.pop(item, None)
        self.owned[item] = None
        if len(self.owned) > self.config.max_owned:
            del self.owned[next(iter(self.owned))]

    def _rate(self, value: float) -> float:
        """Return a rating's factor: 1 from the mean of the ratings before it on, and for the first."""
        factor = 1.0 if not self.n_ratings or value >= self.rating_mean else BELOW_MEAN
        self.n_ratings += 1
        self.rating_mean += (value - self.rating_mean) / self.n_ratings
        return factor
