"""Slates and feedback of one user, with defaults."""

from collections.abc import Sequence
from typing import Any

from models.config import AttributionConfig
from models.messages import Event
from models.names import FEATURE_SET, FEATURES
from models.online.outcome import ShownItem, ShownSlate

NOW = 1_700_000_000_000
SECOND = 1_000
CONFIG = AttributionConfig(window_s=60, lateness_s=10, wait_s=20, seconds_to_count=0)
"""Slates of a second ago count: here they are made a second apart."""


def logged(*first: float) -> list[float]:
    """Make features of which the first are given."""
    return [*first, *[0.0] * (len(FEATURES) - len(first))]


def a_slate(second: int = 0, items: Sequence[str | ShownItem] = "abc", name: str = "", **changes: Any) -> ShownSlate:
    fields = {
        "recommendation_id": name or f"r-{second}",
        "user_id": "u-1",
        "created_at": NOW + second * SECOND,
        "experiment": "test",
        "variant": "left",
        "model_version": "mlp-1@7",
        "feature_set": FEATURE_SET,
        "items": [
            ShownItem(item, place, 1.0, logged(place / 4, 0.5)) if isinstance(item, str) else item
            for place, item in enumerate(items)
        ],
    }
    return ShownSlate(**(fields | changes))


def an_event(second: int = 5, item: str = "a", kind: str = "click", name: str = "", **changes: Any) -> Event:
    return Event(name or f"e-{second}-{item}-{kind}", "u-1", item, kind, NOW + second * SECOND, **changes)
