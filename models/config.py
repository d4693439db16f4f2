"""How the core works, as its settings say: each class is a section of the settings, with the names of its variables.

Durations are in seconds, as people write them; the derived `*_ms` are what events are measured by. What a section
leaves out has the default that stands here and nowhere else.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from models.rankers.config import LearnerConfig

DAY_S = 86_400
MAX_WINDOW_S = DAY_S
"""Longest attribution window: slates are kept for twice as long."""

Count: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[int, Meta(ge=1)]
Window: TypeAlias = Annotated[int, Meta(ge=1, le=MAX_WINDOW_S)]
ImpressionKind: TypeAlias = Literal["slate", "event"]


def in_ms(seconds: str) -> cached_property[int]:
    """Derive milliseconds from the field `seconds`, once an object: so the classes below keep their `__dict__`."""
    return cached_property(lambda config: 1_000 * int(getattr(config, seconds)))


@dataclass(frozen=True)
class ProfileConfig:
    """Windows and interest profiles, the same for all users."""

    session_gap_s: Seconds = 1_800
    """The longest pause inside a session that the platform did not name."""
    lateness_s: Annotated[int, Meta(ge=0)] = 600
    """Allowed lateness: an event older than its user's newest by more than this is a dead letter."""
    half_life_moment_s: Seconds = 1_800
    """Half-life of the short-term interests."""
    half_life_habit_s: Seconds = 14 * DAY_S
    """Half-life of the long-term interests, and of the mean price."""
    half_life_impressions_s: Seconds = DAY_S
    """Half-life of what was shown without a reaction; it says how long an item rests that was shown too often."""
    expire_after_s: Annotated[int, Meta(ge=60)] = 90 * DAY_S
    """A user idle for longer is forgotten."""
    max_owned: Annotated[int, Meta(ge=1, le=65_536)] = 256
    """Items kept that a user has, some 9 bytes each: the newest. What an item requires and excludes goes by them."""
    habits_within: bool = False
    """Whether acts of one session make habits as well, and not only those of different ones: for platforms on which a
    session is as long as a user's past."""
    max_events_per_5_min: Count = 300
    """Whoever acts faster is a bot: counted, but without a slate and a say in the tables."""

    session_gap_ms = in_ms("session_gap_s")
    lateness_ms = in_ms("lateness_s")
    half_life_moment_ms = in_ms("half_life_moment_s")
    half_life_habit_ms = in_ms("half_life_habit_s")
    half_life_impressions_ms = in_ms("half_life_impressions_s")
    expire_after_ms = in_ms("expire_after_s")


@dataclass(frozen=True)
class HistoryConfig:
    """What is kept of what a user has taught, so that an erasure can take it back."""

    history: Annotated[int, Meta(ge=0, le=1_024)] = 128
    """Newest contributions of a user that an erasure takes back, some 70 bytes each, 190 where earlier sessions came
    before; older ones only decay."""
    history_s: Seconds = 30 * DAY_S
    """Age at which a contribution is not kept for that any more."""

    history_ms = in_ms("history_s")


@dataclass(frozen=True)
class ItemSideConfig(HistoryConfig):
    """How the item tables are learned."""

    shards: Annotated[int, Meta(ge=1, le=1_024)] = 64
    """State keys of the item tables; fixed once a recovery store exists."""
    max_items: Annotated[int, Meta(ge=1, le=1 << 30)] = 2_000_000
    """Items whose statistics are kept: up to 1.4 KB each on average in `learn`, and in every recommend process 0.5 KB
    and 12 bytes a neighbour. Of a shard that has its part of them, the eighth that was acted on least is given up."""
    sessions: Annotated[int, Meta(ge=1, le=1 << 22)] = 1 << 18
    """Users whose newest session is kept for session kNN, some 170 bytes each in every recommend process. With a
    twentieth as many users, one in forty is lost to a shared place."""
    half_life_short_s: Seconds = DAY_S
    """Half-life of trends."""
    half_life_long_s: Seconds = 365 * DAY_S
    """Half-life of an item's popularity and of what follows it: of goods and films a year, of news days."""
    half_life_between_s: Seconds = 90 * DAY_S
    """Half-life, by the time between them, of what an act says of one in a later session of the same user."""
    min_users: Count = 5
    """An item trends in a segment only once so many distinct users of the segment have acted on it (k-anonymity)."""

    half_life_short_ms = in_ms("half_life_short_s")
    half_life_long_ms = in_ms("half_life_long_s")
    half_life_between_ms = in_ms("half_life_between_s")

    @cached_property
    def max_items_of_shard(self) -> int:
        """How many items a shard keeps."""
        return -(-self.max_items // self.shards)


@dataclass(frozen=True)
class AttributionConfig:
    """Which feedback is a slate's, for the rankers that learn from it."""

    impressions: ImpressionKind = "slate"
    """`slate`: an item was shown when its slate was made; `event`: when an `impression` event says so. Experiments are
    judged by the same."""
    window_s: Window = 1_800
    """Seconds after its impression for which an item's feedback counts; slates are kept for twice a day."""
    windows_s: dict[str, Window] = field(default_factory=dict)
    """The same for some event types: `{"purchase": 86400}`. A slate is decided when the longest has closed."""
    wait_s: Annotated[int, Meta(ge=0, le=MAX_WINDOW_S)] = 600
    """Longest time from a slate to its `impression` events."""
    seconds_to_count: Annotated[float, Meta(ge=0, le=3_600)] = 2.0
    """A slate that the user's next one replaces within fewer seconds is no impression, as nobody can have looked at it;
    unless an act names it. Plays no part where impressions come as events."""
    lateness_s: Annotated[int, Meta(ge=0)] = 600
    """Seconds for which a slate whose windows have closed waits for what comes late."""
    max_slates: Annotated[int, Meta(ge=1, le=1_024)] = 128
    """Slates of a user that wait at a time; more are given up, the oldest first, and counted. A replay that reads
    slates ahead of events needs room for them."""

    def window_ms_of(self, event_type: str) -> int:
        """Return how long feedback of a type counts, in milliseconds."""
        return 1_000 * self.windows_s.get(event_type, self.window_s)

    click_window_ms = in_ms("window_s")
    wait_ms = in_ms("wait_s")

    @cached_property
    def counts_after_ms(self) -> int:
        """How long a slate has to stand before it counts as an impression, in milliseconds."""
        return round(1_000 * self.seconds_to_count)

    @cached_property
    def closes_after_ms(self) -> int:
        """How long after it was made a slate is decided, in milliseconds."""
        return self._closes_after_ms(max(self.window_s, *self.windows_s.values(), 0))

    @cached_property
    def click_closes_after_ms(self) -> int:
        """How long after it was made it is decided what of a slate was clicked, in milliseconds."""
        return self._closes_after_ms(self.window_s)

    def _closes_after_ms(self, window_s: int) -> int:
        return 1_000 * (window_s + self.lateness_s + (self.wait_s if self.impressions == "event" else 0))


@dataclass(frozen=True)
class OnlineConfig(LearnerConfig):
    """How a ranker learns from the stream."""

    batch_size: Count = 32
    """Slates a step."""
    reservoir: Count = 1_024
    """Old slates that are kept to be learned again."""
    rehearsed: Annotated[float, Meta(ge=0)] = 1.0
    """Old slates a new one in each step."""
    rehearsal_half_life: Count = 8_192
    """Slates after which half of the old ones that are kept have given way to newer ones."""
    alarm_slates: Annotated[int, Meta(ge=0)] = 2_048
    """Slates after an alarm, when the stream has changed, during which half as many old slates are learned again, in
    larger steps; 0: alarms change nothing but the guard."""
    alarm_rate: Annotated[float, Meta(ge=1)] = 2.0
    """By how much the steps are larger then."""
    publish_every: Count = 8
    """Steps from one decision about a new version to the next."""
    guard_slates: Count = 512
    """Slates of the first test of whether a new version is better than the one in service; later tests are longer."""
    min_judged: Count = 64
    """Slates of a test on which somebody acted, and on which two rankers differ, below which nothing is decided between
    them."""
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.05
    """Probability that a version which is no better ever takes the place of one in service, however often it is
    looked at."""
    min_examination: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """A position's examination probability is taken for no less than this: a click counts at most its inverse."""

    @property
    def learner(self) -> LearnerConfig:
        """The part that is the network's own: it goes into the ranker's snapshot."""
        return LearnerConfig(self.loss, self.learning_rate, self.fine_tune, self.device)


@dataclass(frozen=True)
class OutcomeConfig:
    """How outcomes are counted; what an experiment is judged by stands in its declaration."""

    attribution_window_s: Seconds = DAY_S
    """An act counts for an item that was shown no longer ago."""
    retention_s: Annotated[int, Meta(ge=DAY_S)] = 7 * DAY_S
    """Who acts again between a day and this long after the exposure has come back."""

    attribution_window_ms = in_ms("attribution_window_s")
    retention_ms = in_ms("retention_s")
