"""What the core is given, gathered from the settings: the same for flows and backtests."""

from dataflows.run.settings import Settings
from dataflows.run.text_spaces import text_space
from models.counts.item_side import ItemSideConfig
from models.counts.item_statistics import StatisticsConfig
from models.counts.newest_sessions import SessionsConfig
from models.counts.transitions import TransitionConfig
from models.counts.trends import TrendingConfig
from models.user.profile import ProfileConfig


def profile_config(settings: Settings) -> ProfileConfig:
    """Say how profiles are kept."""
    events, profiles = settings.events, settings.profile
    return ProfileConfig(
        event_weights=events.weights,
        owning_types=events.owning_types,
        session_gap_ms=1_000 * profiles.session_gap_s,
        lateness_ms=1_000 * profiles.lateness_s,
        half_life_moment_ms=1_000 * profiles.half_life_moment_s,
        half_life_habit_ms=1_000 * profiles.half_life_habit_s,
        half_life_impressions_ms=1_000 * profiles.half_life_impressions_s,
        expire_after_ms=1_000 * profiles.expire_after_s,
        max_events_per_5_min=profiles.max_events_per_5_min,
        max_owned=profiles.max_owned,
    )


def item_side_config(settings: Settings) -> ItemSideConfig:
    """Say how the item tables are learned."""
    learn, profile = settings.learn, settings.profile
    short_ms, long_ms = 1_000 * learn.half_life_short_s, 1_000 * learn.half_life_long_s
    return ItemSideConfig(
        event_weights=settings.events.weights,
        segment_fields=settings.events.segment_fields,
        transitions=TransitionConfig(
            1_000 * profile.session_gap_s, 1_000 * profile.lateness_s, profile.max_events_per_5_min
        ),
        statistics=StatisticsConfig(short_ms, long_ms),
        trending=TrendingConfig(short_ms, learn.min_users),
        sessions=SessionsConfig(learn.sessions),
        n_shards=learn.shards,
        texts=text_space(learn.text),
    )
