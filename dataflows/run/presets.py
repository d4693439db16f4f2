"""Presets: what the settings of a field of use are, where they are not the general ones.

`PRESETS.md` says which to pick and why; a test holds that its values are these.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

HOUR_S = 3_600
DAY_S = 86_400

PresetName: TypeAlias = Literal[
    "session-shop", "shop", "video", "articles", "social", "ads", "replies", "care", "courses", "city"
]


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of settings; what it leaves out keeps its general default."""

    what: str
    """Whom it is for."""
    settings: Mapping[str, Mapping[str, Any]]
    """By section of the settings and name in it."""


PRESETS: dict[PresetName, Preset] = {
    "session-shop": Preset(
        "a shop whose visitors are not signed in",
        {
            "profile": {"half_life_habit_s": 3 * DAY_S, "expire_after_s": 30 * DAY_S},
            "attribution": {"windows_s": {"purchase": DAY_S}},
            "evaluate": {"goal": "conversion"},
            "strategy": {"allow_seen": True, "allow_owned": True, "diversity": 0.05, "max_per_category": 10},
        },
    ),
    "shop": Preset(
        "a shop whose customers are known",
        {
            "profile": {"half_life_habit_s": 30 * DAY_S, "expire_after_s": 365 * DAY_S},
            "attribution": {"windows_s": {"purchase": DAY_S}},
            "evaluate": {"goal": "conversion"},
            "strategy": {"allow_seen": True},
        },
    ),
    "video": Preset(
        "films, series, clips",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 0.5, "click": 0.5, "play": 1.0, "watch": 3.0, "dwell": 0.5, "save": 2.0,
                    "like": 2.0, "share": 2.0, "rating": 1.0, "skip": -0.5, "dislike": -1.0,
                },
                "owning_types": frozenset({"watch"}),
            },
            "profile": {
                "session_gap_s": 3 * HOUR_S, "half_life_moment_s": 2 * HOUR_S, "half_life_habit_s": 30 * DAY_S,
                "expire_after_s": 365 * DAY_S, "max_owned": 1_024,
            },
            "attribution": {"window_s": 4 * HOUR_S, "seconds_to_count": 5.0},
            "evaluate": {"goal": "activity"},
            "strategy": {
                "diversity": 0.25,
                "sources": {
                    "session_knn": 0.7, "sequential_rules": 0.5, "covisitation": 0.5, "two_step_rules": 0.5,
                    "habits": 0.5, "content": 0.5, "trending": 0.2, "sequence": 0.5,
                },
            },
        },
    ),
    "articles": Preset(
        "news, magazines, blogs",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 1.0, "click": 1.0, "read": 2.0, "dwell": 0.5, "save": 2.0, "like": 2.0,
                    "share": 2.0, "comment": 2.0, "rating": 1.0, "dislike": -1.0,
                },
                "owning_types": frozenset({"read"}),
            },
            "profile": {"half_life_habit_s": 7 * DAY_S, "max_owned": 1_024},
            "learn": {"half_life_short_s": 3 * HOUR_S, "half_life_long_s": 2 * DAY_S, "min_users": 3},
            "strategy": {
                "diversity": 0.3,
                "max_per_category": 3,
                "max_impressions": 3,
                "sources": {
                    "session_knn": 0.7, "sequential_rules": 0.5, "covisitation": 0.3, "two_step_rules": 0.3,
                    "content": 0.7, "trending": 0.5, "sequence": 0.5,
                },
            },
        },
    ),
    "social": Preset(
        "a feed of posts",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 0.5, "click": 1.0, "dwell": 0.5, "like": 2.0, "share": 3.0,
                    "comment": 3.0, "save": 2.0, "follow": 3.0, "hide": -1.0, "dislike": -1.0,
                },
                "owning_types": frozenset({"like", "share", "comment"}),
            },
            "profile": {
                "half_life_moment_s": 900, "half_life_habit_s": 7 * DAY_S, "half_life_impressions_s": 7 * DAY_S,
            },
            "learn": {"half_life_short_s": 2 * HOUR_S, "half_life_long_s": DAY_S},
            "attribution": {"impressions": "event"},
            "evaluate": {"goal": "activity"},
            "strategy": {
                "diversity": 0.3,
                "max_per_category": 2,
                "max_impressions": 1,
                "exploration_slots": 2,
                "sources": {
                    "session_knn": 0.5, "sequential_rules": 0.3, "covisitation": 0.5, "two_step_rules": 0.3,
                    "content": 1.0, "trending": 0.5, "sequence": 0.5,
                },
            },
        },
    ),
    "ads": Preset(
        "advertisements beside other content",
        {
            "profile": {"half_life_habit_s": 7 * DAY_S, "expire_after_s": 30 * DAY_S},
            "learn": {"half_life_long_s": 7 * DAY_S, "min_users": 10},
            "attribution": {"impressions": "event", "windows_s": {"purchase": DAY_S}},
            "evaluate": {"goal": "conversion"},
            "strategy": {
                "n_items": 3,
                "allow_seen": True,
                "max_per_category": 1,
                "max_impressions": 3,
                "exploration_slots": 1,
                "sources": {
                    "session_knn": 0.3, "sequential_rules": 0.3, "covisitation": 0.5, "content": 1.0, "trending": 0.5,
                    "sequence": 0.5,
                },
            },
        },
    ),
    "replies": Preset(
        "reply templates and help articles for customer service",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "message": 0.0, "view": 0.5, "click": 1.0, "send": 3.0, "resolve": 5.0,
                    "dislike": -1.0,
                },
                "owning_types": frozenset({"resolve"}),
                "text_field": "message",
            },
            "profile": {"half_life_habit_s": DAY_S, "expire_after_s": 30 * DAY_S},
            "learn": {"half_life_long_s": 60 * DAY_S},
            "evaluate": {"goal": "conversion"},
            "strategy": {
                "n_items": 5,
                "allow_seen": True,
                "allow_current": True,
                "allow_owned": True,
                "diversity": 0.2,
                "max_impressions": 1_000,
                "exploration_slots": 0,
                "sources": {
                    "content": 1.0, "sequential_rules": 0.5, "covisitation": 0.3, "trending": 0.1, "sequence": 0.5,
                },
            },
        },
    ),
    "care": Preset(
        "steps of care plans, exercises, advice",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 0.5, "click": 0.5, "state": 0.0, "start": 2.0, "complete": 5.0,
                    "rating": 1.0, "dislike": -1.0,
                },
                "owning_types": frozenset({"complete", "state"}),
            },
            "profile": {
                "half_life_moment_s": DAY_S, "half_life_habit_s": 90 * DAY_S, "expire_after_s": 10 * 365 * DAY_S,
                "max_owned": 4_096,
            },
            "learn": {"half_life_short_s": 30 * DAY_S, "half_life_long_s": 180 * DAY_S, "min_users": 20},
            "attribution": {"window_s": DAY_S},
            "evaluate": {"goal": "conversion"},
            "strategy": {
                "n_items": 5,
                "allow_seen": True,
                "max_impressions": 1_000,
                "exploration_slots": 0,
                "sources": {
                    "sequential_rules": 1.0, "two_step_rules": 0.5, "covisitation": 0.5, "habits": 0.5,
                    "content": 0.5, "trending": 0.1, "sequence": 0.5,
                },
            },
        },
    ),
    "courses": Preset(
        "courses, lessons, exercises",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 1.0, "click": 1.0, "enroll": 3.0, "start": 2.0, "complete": 5.0,
                    "rating": 1.0, "drop": -1.0, "dislike": -1.0,
                },
                "owning_types": frozenset({"complete"}),
            },
            "profile": {
                "half_life_moment_s": HOUR_S, "half_life_habit_s": 90 * DAY_S, "expire_after_s": 10 * 365 * DAY_S,
                "max_owned": 4_096,
            },
            "learn": {"half_life_short_s": 7 * DAY_S, "half_life_long_s": 180 * DAY_S},
            "attribution": {"window_s": DAY_S},
            "evaluate": {"goal": "conversion"},
            "strategy": {
                "allow_seen": True,
                "max_impressions": 20,
                "sources": {
                    "session_knn": 0.3, "sequential_rules": 1.0, "two_step_rules": 0.5, "covisitation": 0.5,
                    "habits": 0.5, "content": 0.5, "trending": 0.1, "sequence": 0.5,
                },
            },
        },
    ),
    "city": Preset(
        "services, events and notices of a city",
        {
            "events": {
                "weights": {
                    "impression": 0.0, "view": 1.0, "click": 1.0, "state": 0.0, "apply": 3.0, "use": 3.0, "rating": 1.0,
                    "dislike": -1.0,
                },
                "owning_types": frozenset({"apply", "use", "state"}),
                "segment_fields": ("district", "daypart"),
            },
            "profile": {
                "half_life_habit_s": 60 * DAY_S, "expire_after_s": 10 * 365 * DAY_S, "max_owned": 4_096,
            },
            "learn": {"half_life_short_s": 3 * DAY_S, "half_life_long_s": 60 * DAY_S, "min_users": 20},
            "attribution": {"windows_s": {"apply": DAY_S, "use": DAY_S}},
            "evaluate": {"goal": "conversion"},
            "strategy": {
                "allow_seen": True,
                "allow_owned": True,
                "diversity": 0.3,
                "max_per_category": 3,
                "sources": {
                    "session_knn": 0.5, "sequential_rules": 0.5, "covisitation": 0.5, "two_step_rules": 0.3,
                    "habits": 0.5, "content": 1.0, "trending": 0.5, "sequence": 0.5,
                },
            },
        },
    ),
}  # fmt: skip
