"""What attribution reads of a slate, and what it says became of it."""

from dataclasses import dataclass, field

from models.config import ImpressionKind
from models.numeric.arrays import Floats


@dataclass(frozen=True, slots=True)
class ShownItem:
    """What attribution reads of a slate's item."""

    item_id: str
    position: int
    propensity: float
    features: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownSlate:
    """What attribution reads of a slate; the rest of the message is skipped."""

    recommendation_id: str
    user_id: str
    created_at: int
    experiment: str | None
    variant: str | None
    model_version: str
    feature_set: str
    items: list[ShownItem]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one impression."""

    recommendation_id: str
    user_id: str
    experiment: str | None
    variant: str | None
    model_version: str
    item_id: str
    position: int
    label: float
    """1 where some feedback weighs more than 0, else 0."""
    weight: float
    """The heaviest feedback's, 1 where there is none."""
    value: float
    """Sum of the feedback's values: prices, ratings, seconds, by type."""
    feedback: tuple[str, ...]
    """Types of the feedback, in the order of their times."""
    propensity: float
    features: Floats = field(compare=False)
    """(F,) as logged, to half precision; empty where they were not kept."""
    impression_at: int
    impression: ImpressionKind
    """What told that it was shown."""
    closed_at: int
    """Event time at which it was decided."""


@dataclass(frozen=True, slots=True)
class ClosedSlate:
    """A decided slate: one outcome an item that was shown."""

    outcomes: tuple[Outcome, ...]
    history: tuple[int, ...]
    """Hashes of the items that the user acted on until the slate was made, newest first, at most `N_HISTORY`."""
