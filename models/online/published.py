"""What `learn` says of a ranker: which version goes into service, and whether what slates said came true."""

from dataclasses import dataclass

from models.numeric.arrays import Doubles
from models.rankers.checkpoint import Checkpoint

CALIBRATED = "calibrated"
"""Among the evidence of a version that has the weights of the one before it, and other chances."""


@dataclass(frozen=True, slots=True)
class Published:
    """A decision: a new version goes into service, or an older one comes back."""

    checkpoint: Checkpoint | None
    """None: the blend comes back."""
    number: int
    """Rising with each decision."""
    is_rollback: bool
    learned_until: int
    """Event time of the newest slate learned from, Unix ms."""
    evidence: dict[str, float]
    """Empty after a reset; else `loss` (progressive), the `gain` of what won and of what it `replaced`, `n_judged`,
    and `n_slates` learned. The gain of a funnel is its log-likelihood; CALIBRATED says that only its chances moved."""
    examination: tuple[float, ...] = ()
    """How probable it is that each position is looked at, relative to the first."""
    place: int | None = None
    """Counts versions by their weights: one that is only calibrated takes the place of the one before it. None: each
    number is a place of its own."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """What slates said of stages, and what came of it, until now."""

    number: int
    """Rising with each."""
    learned_until: int
    """Event time of the newest slate, Unix ms."""
    tables: Doubles
    """(S, N, 3) as `models.numeric.reliability` lays them out."""
