"""Slates, and feedback on them that follows one feature, as records for the learn flow."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from dataflows.records import Record
from dataflows.run.settings import LearnSettings, RankerSettings, Settings
from models.config import AttributionConfig
from models.names import FEATURE_SET, FEATURE_SETS, FEATURES
from models.numeric.arrays import Doubles, Halves
from models.numeric.halves import pack_halves, unpack_halves
from tests.flows.learning import NOW, SECOND, Run, an_event

LIKED = FEATURES.index("interest_short")
TOLD = [FEATURES.index(name) for name in FEATURE_SETS["v3"]]
"""Columns that differ between items, however many there are: what learners find must not hang on that."""
EVERY_S = 10
"""Seconds between a user's slates."""


def settings_for(name: str = "mlp", **ranker: Any) -> Settings:
    chosen = {
        "batch_size": 8,
        "publish_every": 2,
        "min_judged": 16,
        "guard_slates": 64,
        "alpha": 0.5,
        "learning_rate": 0.01,
        "reservoir": 64,
    }
    return Settings(
        learn=LearnSettings(shards=2, min_users=1),
        attribution=AttributionConfig(window_s=5, lateness_s=2, max_slates=200),
        ranker=RankerSettings(name=name, **(chosen | ranker)),
    )


def a_slate(
    number: int,
    user: str = "u-1",
    variant: str | None = None,
    n_items: int = 6,
    items_of: str = "",
    **changes: Any,
) -> Record:
    features = some_features(np.random.default_rng(number), n_items).round(3)
    slate = {
        "recommendation_id": f"r-{number}",
        "user_id": user,
        "created_at": NOW + number * EVERY_S * SECOND,
        "trigger": "event",
        "trigger_id": f"e-{number}",
        "experiment": "test" if variant else None,
        "variant": variant,
        "model_version": "blend@0",
        "learned_until": 0,
        "n_events": 1,
        "feature_set": FEATURE_SET,
        "items": [
            {
                "item_id": f"i-{items_of}{index}",
                "position": index,
                "score": 0.0,
                "source": "trending",
                "reason": "",
                "propensity": 1.0,
            }
            for index in range(n_items)
        ],
        "features": pack_halves(features.astype(np.float32)),
        "version": 1,
    }
    return Record(0, number, NOW, user.encode(), orjson.dumps(slate | changes))


def some_features(rng: np.random.Generator, n_items: int) -> Doubles:
    """Draw features of items: (L, F)."""
    features = np.zeros((n_items, len(FEATURES)))
    features[:, TOLD] = rng.random((n_items, len(TOLD)))
    return features


def features_of(slate: dict[str, Any]) -> Halves:
    """Read what a slate carries of its items: (L, F)."""
    return unpack_halves(slate["features"], len(slate["items"]), len(FEATURES))


def feedback_on(slate: Record, number: int) -> list[Record]:
    """Click what the user likes most, two seconds after the slate; a look at something else follows three later."""
    sent = orjson.loads(slate.value or b"")
    best = sent["items"][int(features_of(sent)[:, LIKED].argmax())]["item_id"]
    second = number * EVERY_S
    return [
        an_event(2 * number, sent["user_id"], best, event_type="click", timestamp=NOW + (second + 2) * SECOND),
        an_event(2 * number + 1, sent["user_id"], "other", timestamp=NOW + (second + 5) * SECOND),
    ]


def a_stream(n: int = 640, n_users: int = 40, variants: list[str] | None = None) -> tuple[list[Record], list[Record]]:
    """Make n slates and the events on them, both in the order of time."""
    slates = [
        a_slate(k, f"u-{k % n_users}", variants[k % n_users % len(variants)] if variants else None) for k in range(n)
    ]
    return slates, [event for k, slate in enumerate(slates) for event in feedback_on(slate, k)]


CLOCK = datetime(2026, 1, 1, tzinfo=UTC)
"""It stands still: only messages move event time on."""


def a_run(
    n: int = 640, settings: Settings | None = None, store: Path | None = None, batch_size: int = 10, **stream: Any
) -> Run:
    slates, events = a_stream(n, **stream)
    return Run(events, [], settings or settings_for(), CLOCK, store, batch_size, slates)


def later(seconds: float) -> datetime:
    return CLOCK + timedelta(seconds=seconds)
