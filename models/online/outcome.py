"""What attribution reads of a slate, what it says became of each impression, and what a ranker learns from that."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import numpy as np
from msgspec import Meta

from models.config import ImpressionKind
from models.messages import Id, Millis, Version
from models.names import FEATURE_SET, FEATURES, STAGES, StageName
from models.numeric.arrays import Floats, Halves
from models.numeric.halves import unpack_halves
from models.numeric.ids import hash64
from models.rankers.inputs import SlateExample
from models.strategy import Share

ALL_STAGES = (1 << len(STAGES)) - 1
CLICKED = 1
"""The bit of the first stage."""

Feature: TypeAlias = Annotated[float, Meta(ge=-65_504, le=65_504)]
"""What half precision holds."""


@dataclass(frozen=True, slots=True)
class ShownItem:
    """What attribution reads of a slate's item."""

    item_id: Id
    position: Annotated[int, Meta(ge=0, le=10_000)]
    propensity: Share
    features: list[Feature] = field(default_factory=list)
    """Of a slate of an earlier release, which carried them here."""
    p_click: Share | None = None
    p_cart: Share | None = None
    p_purchase: Share | None = None

    @property
    def chances(self) -> tuple[float, ...]:
        """What the slate said of STAGES; empty where it said nothing."""
        said = self.p_click, self.p_cart, self.p_purchase
        return tuple(chance for chance in said if chance is not None) if None not in said else ()


@dataclass(frozen=True, slots=True)
class ShownSlate:
    """What attribution reads of a slate; the rest of the message is skipped. Its `user_id` becomes the state key."""

    recommendation_id: Id
    user_id: Id
    created_at: Millis
    experiment: Id | None
    variant: Id | None
    model_version: str
    feature_set: str
    items: Annotated[list[ShownItem], Meta(max_length=1_000)]
    consent: bool = True
    placement: str | None = None
    """Where on the platform it was shown; None where there is one place only."""
    features: str | None = None
    version: Version = 1

    def feature_rows(self) -> Halves:
        """Return what was logged of the items: (L, F), and (L, 0) where nothing was, or it is of another release.

        Raises
        ------
        ValueError : it is not what FEATURES names, of each item.
        """
        n = len(self.items)
        if self.feature_set != FEATURE_SET:
            return np.zeros((n, 0), np.float16)
        if self.features is not None:
            rows = unpack_halves(self.features, n, len(FEATURES))
        elif any(item.features for item in self.items):
            rows = np.array([item.features for item in self.items], np.float16).reshape(n, len(FEATURES))
        else:
            return np.zeros((n, 0), np.float16)
        if not np.isfinite(rows).all():
            raise ValueError("a feature is no finite number")
        return rows


@dataclass(frozen=True, slots=True)
class ImpressionOutcome:
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
    """What says that the item was shown."""
    closed_at: int
    """Event time at which all of the slate is decided."""
    chances: tuple[float, ...] = ()
    """What the slate said of STAGES; empty where it said nothing."""


@dataclass(frozen=True, slots=True)
class ClosedSlate:
    """A slate, as far as it is decided: one outcome for each item that was shown, at least one."""

    outcomes: tuple[ImpressionOutcome, ...]
    history: tuple[int, ...]
    """Hashes of the items that the user acted on until the slate was made, newest first, at most `N_HISTORY`."""
    placement: str | None = None
    decided: int = ALL_STAGES
    """Of which of STAGES it is decided now what came of them, as bits, the lowest the first."""
    is_final: bool = True
    """Whether all windows have closed; where not, it comes once more."""

    def example(self, stage_of: Mapping[str, StageName] | None = None) -> SlateExample | None:
        """Return what a ranker learns from; None where not all FEATURES of this release were kept.

        Parameters
        ----------
        stage_of : the stage that each event type of a weight above 0 stands for, for who learns stages.
        """
        first = self.outcomes[0]
        features = np.array([outcome.features for outcome in self.outcomes], np.float16)
        if features.shape[1] != len(FEATURES):
            return None
        return SlateExample(
            hash64(first.recommendation_id),
            hash64(first.user_id),
            first.variant,
            first.closed_at,
            tuple(hash64(outcome.item_id) for outcome in self.outcomes),
            self.history,
            features.tobytes(),
            tuple(outcome.label for outcome in self.outcomes),
            tuple(outcome.weight for outcome in self.outcomes),
            tuple(outcome.position for outcome in self.outcomes),
            tuple(outcome.propensity for outcome in self.outcomes),
            self.placement,
            () if stage_of is None else tuple(_reached(outcome, stage_of) for outcome in self.outcomes),
            0 if stage_of is None else self.decided,
            () if stage_of is None else tuple(outcome.chances for outcome in self.outcomes),
        )


def _reached(outcome: ImpressionOutcome, stage_of: Mapping[str, StageName]) -> int:
    """Say which stages an item came to, as bits: whoever buys has clicked."""
    stages = {stage_of[event_type] for event_type in outcome.feedback if event_type in stage_of}
    return sum(1 << index for index, stage in enumerate(STAGES) if stage in stages or (stages and not index))
