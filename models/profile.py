"""A user's interest profile: what each event changes, and what a slate is told of its user."""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from models.decay import DecayedSums, cosine_distance, strongest
from models.ids import hash64
from models.messages import Context, Event
from models.preferences import shared_preferences
from models.query import Query
from models.strategy import Strategy
from models.windows import SessionWindows, SlidingWindow

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

BELOW_MEAN = -0.5
"""Factor of the weight of a rating that is not above the user's mean: poor, yet less clear than a dislike."""
SURPRISE_FADING = 0.1
"""Share of the newest surprise in its running mean."""
MAX_ID_FACTOR = 16
"""The ids within the lateness may reach so many times `max_event_ids`; only a bot's do, and may count twice."""
_WEIGHT, _PRICE = 0, 1


def default_event_weights() -> dict[str, float]:
    """Weight of each event type."""
    return {
        "impression": 0.0, "view": 1.0, "click": 1.0, "dwell": 0.5, "like": 2.0, "share": 2.0,
        "rating": 1.0, "cart": 3.0, "purchase": 5.0, "dislike": -1.0,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """How profiles are kept; the same for all users."""

    event_weights: Mapping[str, float] = field(default_factory=default_event_weights)
    """Weight of each event type, below 0 for a dislike; a type that is not named has 0."""
    owning_types: frozenset[str] = frozenset({"purchase"})
    """Event types after which the user has the item."""
    session_gap_ms: int = 30 * MINUTE_MS
    """Longest pause inside a session."""
    lateness_ms: int = 10 * MINUTE_MS
    """How far an event may lie behind its user's newest one and still count."""
    half_life_moment_ms: int = 30 * MINUTE_MS
    """Half-life of the interests of the moment."""
    half_life_habit_ms: int = 14 * DAY_MS
    """Half-life of the lasting interests, and of the mean price."""
    half_life_impressions_ms: int = DAY_MS
    """Half-life of impressions without a reaction."""
    expire_after_ms: int = 90 * DAY_MS
    """A user idle for so long is forgotten."""
    max_events_per_5_min: int = 300
    """Whoever acts faster is a bot."""
    max_recent: int = 32
    """Recent items kept."""
    max_interests: int = 48
    """Attributes kept, of interests and of preferences each."""
    max_impressions: int = 64
    """Items whose impressions are kept."""
    max_owned: int = 256
    """Owned items kept, the last bought."""
    max_event_ids: int = 256
    """Event ids kept for telling duplicates; more only while they lie within the lateness."""
    learning_rate: float = 0.1
    """Step of the preference learner."""


class Outcome(Enum):
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
        "config", "event_ids", "habit", "hour", "impressions", "minutes", "moment", "n_events", "n_ratings",
        "owned", "preferences", "prices", "rating_mean", "recent", "sessions", "surprise",
    )  # fmt: skip

    def __init__(self, config: ProfileConfig) -> None:
        self.config = config
        self.n_events = 0
        """Distinct events applied, bots' and impressions included."""
        self.event_ids: dict[int, int] = {}
        """Hash of the event id to event time, in order of arrival."""
        self.sessions = SessionWindows(config.session_gap_ms, config.lateness_ms)
        self.minutes = SlidingWindow(5 * MINUTE_MS, MINUTE_MS, config.lateness_ms)
        """Actions by 5 minutes; an impression is none."""
        self.hour = SlidingWindow(HOUR_MS, 5 * MINUTE_MS, config.lateness_ms)
        self.recent: list[tuple[int, int, float]] = []
        """(minus event time, item, weight), sorted: newest first, whatever the order of arrival."""
        self.moment = DecayedSums(config.half_life_moment_ms)
        self.habit = DecayedSums(config.half_life_habit_ms)
        """Interests; both half-lives hold the same attributes, in the same order."""
        self.prices = DecayedSums(config.half_life_habit_ms)
        """The sum of weights and that of weighted prices: their ratio is the mean, at any time."""
        self.impressions = DecayedSums(config.half_life_impressions_ms)
        self.owned: dict[int, None] = {}
        """An ordered set, the last bought at its end."""
        self.n_ratings = 0
        self.rating_mean = 0.0
        self.preferences: dict[int, float] = {}
        self.surprise = 0.5
        """Running mean of how improbable the preferences found what the user did; 0.5 knows nothing."""

    @property
    def expires_at(self) -> int:
        """When the user is forgotten if nothing more comes, Unix milliseconds."""
        return self.sessions.newest_at + self.config.expire_after_ms

    def expired(self, now_ms: int) -> bool:
        """Whether the user has been idle for too long at `now_ms`."""
        return now_ms >= self.expires_at

    def apply(self, event: Event, attributes: tuple[int, ...], price: float, negative: tuple[int, ...]) -> Outcome:
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
            return Outcome.DUPLICATE
        at = event.timestamp
        if self.sessions.place(at, hash64(event.session_id) if event.session_id else 0) is None:
            return Outcome.LATE
        self._remember(event_hash, at)
        self.n_events += 1
        config = self.config
        item = hash64(event.item_id)
        if event.event_type == "impression" and not config.event_weights.get("impression"):
            self._show(item, at)
            return Outcome.APPLIED
        self.minutes.add(at)
        self.hour.add(at)
        if self.minutes.count(at) > config.max_events_per_5_min:
            return Outcome.BOT
        self.impressions.scaled.pop(item, None)
        if event.event_type in config.owning_types:
            self._own(item)
        weight = config.event_weights.get(event.event_type, 0.0)
        if event.event_type == "rating" and event.value is not None:
            weight *= self._rate(event.value)
        if weight:
            self._learn(item, at, weight, attributes, price, negative)
        return Outcome.APPLIED

    def query(
        self,
        *,
        trigger: Literal["event", "request"],
        trigger_id: str,
        user_id: str,
        at: int,
        strategy: Strategy,
        experiment: str | None,
        variant: str | None,
        current_item: int = 0,
        segments: tuple[int, ...] = (),
        context: Context | None = None,
        candidates: list[str] | None = None,
        query: str | None = None,
        n_items: int | None = None,
    ) -> Query:
        """Tell a slate all about its user at `at`; changes nothing.

        Nothing decays backwards: for an `at` before the newest event, the sums read as of that event.
        """
        decayed_at = max(at, self.sessions.newest_at)
        moment, habit = self.moment.at(decayed_at), self.habit.at(decayed_at)
        weight = self.prices.scaled.get(_WEIGHT, 0.0)
        return Query(
            user_id=user_id,
            trigger=trigger,
            trigger_id=trigger_id,
            at=at,
            strategy=strategy,
            experiment=experiment,
            variant=variant,
            current_item=current_item,
            recent_items=[item for _, item, _ in self.recent],
            recent_at=[-minus_at for minus_at, _, _ in self.recent],
            recent_weights=[weight for _, _, weight in self.recent],
            n_in_session=self._n_in_session(at),
            interests=dict(zip(habit, zip(moment.values(), habit.values(), strict=True), strict=True)),
            preferences=self.preferences.copy(),
            impressions=self.impressions.at(decayed_at),
            owned=set(self.owned),
            n_events=self.n_events,
            n_last_5_min=self.minutes.count(at),
            n_last_hour=self.hour.count(at),
            drift=cosine_distance(self.moment.scaled, self.habit.scaled),
            mean_price=self.prices.scaled[_PRICE] / weight if weight > 0 else 0.0,
            segments=segments,
            context=context,
            candidates=candidates,
            query=query,
            n_items=n_items,
        )

    def _remember(self, event_hash: int, at: int) -> None:
        ids = self.event_ids
        ids[event_hash] = at
        late_before = self.sessions.newest_at - self.config.lateness_ms
        limit = self.config.max_event_ids
        while len(ids) > limit:
            oldest = next(iter(ids))
            if ids[oldest] >= late_before and len(ids) <= MAX_ID_FACTOR * limit:
                break
            del ids[oldest]

    def _show(self, item: int, at: int) -> None:
        impressions = self.impressions
        impressions.add((item,), 1.0, at)
        if len(impressions.scaled) > self.config.max_impressions:
            kept = strongest(impressions.scaled, self.config.max_impressions)
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

    def _learn(
        self,
        item: int,
        at: int,
        weight: float,
        attributes: tuple[int, ...],
        price: float,
        negative: tuple[int, ...],
    ) -> None:
        config = self.config
        insort(self.recent, (-at, item, weight))
        del self.recent[config.max_recent :]
        if price > 0 and weight > 0:
            self.prices.add((_WEIGHT,), weight, at)
            self.prices.add((_PRICE,), weight * price, at)
        if not attributes:
            return
        self.moment.add(attributes, weight, at)
        self.habit.add(attributes, weight, at)
        if len(self.habit.scaled) > config.max_interests:
            self._drop_interests()
        better, worse = (attributes, negative) if weight > 0 else (negative, attributes)
        learner = shared_preferences(config.learning_rate, config.max_interests)
        surprise = learner.learn(self.preferences, better, worse)
        self.surprise += SURPRISE_FADING * (surprise - self.surprise)

    def _drop_interests(self) -> None:
        """Keep the attributes that are strongest in both half-lives together."""
        moment, habit, at = self.moment, self.habit, self.sessions.newest_at
        now, ever = moment.factor(at), habit.factor(at)
        strengths = {key: abs(moment.scaled[key]) * now + abs(value) * ever for key, value in habit.scaled.items()}
        kept = strongest(strengths, self.config.max_interests)
        moment.scaled = {key: moment.scaled[key] for key in kept}
        habit.scaled = {key: habit.scaled[key] for key in kept}

    def _n_in_session(self, at: int) -> int:
        session = self.sessions.current
        if session is None or at - session.last_at > self.config.session_gap_ms:
            return 0
        return sum(-minus_at >= session.started_at for minus_at, _, _ in self.recent)
