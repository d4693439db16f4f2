"""Observations of one user, with defaults: times in minutes, items and slates by small numbers."""

from typing import Any

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.metrics import INDEX_OF
from models.experiments.judge.observations import Act, Exposure, Impression, Observation, SlateSent
from models.experiments.judge.user_metrics import Change, UserMetrics
from models.names import MetricName

MINUTE, DAY = 60_000, 86_400_000
START = 1_700_000_000_000
CONFIG = OutcomeConfig()


def at(minute: float) -> int:
    return START + round(minute * MINUTE)


def acts(minute: float, item: int = 1, **fields: Any) -> Act:
    return Act(at(minute), round(1_000 * minute) + 7, item, **fields)


def sees(minute: float, item: int = 1, slate: int = 0) -> Impression:
    return Impression(at(minute), round(1_000 * minute) + item, item, slate)


def is_exposed(minute: float = 0.0, variant: str = "control", experiment: str = "e", digest: str = "d") -> Exposure:
    return Exposure(at(minute), experiment, digest, variant)


def is_shown(minute: float, *items: int, **fields: Any) -> SlateSent:
    return SlateSent(
        **{"at": at(minute), "id": round(1_000 * minute), "trigger": 0, "items": items or (1, 2, 3)} | fields
    )


def changes_of(
    observations: list[Observation], config: OutcomeConfig = CONFIG, impressions: ImpressionKind = "slate"
) -> list[Change]:
    user = UserMetrics(config, impressions)
    found = []
    for observation in observations:
        user.observe([observation])
        found.append(user.change([observation]))
    return [change for change in found if change is not None]


def metrics_of(
    observations: list[Observation], config: OutcomeConfig = CONFIG, impressions: ImpressionKind = "slate"
) -> dict[str, list[float]]:
    """What the user counts for in the end: numerator, denominator, and both before, by metric."""
    new = changes_of(observations, config, impressions)[-1].new
    assert new is not None
    return {name: new[place] for name, place in INDEX_OF.items()}


def counted(
    observations: list[Observation],
    metric: MetricName,
    config: OutcomeConfig = CONFIG,
    impressions: ImpressionKind = "slate",
) -> list[float]:
    """Numerator and denominator of one metric since the exposure."""
    return metrics_of(observations, config, impressions)[metric][:2]
