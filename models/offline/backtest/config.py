"""How a backtest is run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from models.config import ItemSideConfig, ProfileConfig
from models.events import EventConfig
from models.items.vectors import HASHED, TextSpace
from models.rankers.checkpoint import Checkpoint
from models.rankers.fit import TrainConfig
from models.sequence.config import SequenceTraining

Repeats: TypeAlias = Literal["collapse", "keep"]
Ties: TypeAlias = Literal["strict", "order"]
Progress = Callable[[str, int, int], object]
"""Called with what is being done, how much of it is done, and of how much."""
Timer = Callable[[], int]
"""A clock in nanoseconds that only goes forward."""


@dataclass(frozen=True, slots=True)
class BacktestConfig:
    """What is the same for all contenders; the defaults are the flows'."""

    k: int = 20
    """Length of a slate."""
    repeats: Repeats = "collapse"
    """`collapse`: of consecutive acts on one item within a session only the first counts, in all files, and what the
    user is on is never recommended. `keep`: every act counts, and it may be recommended."""
    exclude_seen: bool = False
    """Nothing that the user has acted on is recommended again."""
    ties: Ties = "strict"
    """Prequential: whether acts of one user at the same time are predicted from the same past, or each from those
    before it."""
    warmup: float = 0.1
    """Prequential: the first share of the acts, which are learned and not judged."""
    learn_every: int = 64
    """Prequential: events after which the tables learn them: what an act teaches reaches others so much later."""
    n_timed: int = 1_000
    """Slates that are timed alone, spread evenly over the targets."""
    seed: int = 0
    events: EventConfig = field(default_factory=EventConfig)
    """What is an act, which is what is predicted, and what makes a slate."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    item_side: ItemSideConfig = field(default_factory=ItemSideConfig)
    texts: TextSpace = HASHED
    """Where items and searches are compared."""
    fit: TrainConfig = field(default_factory=TrainConfig)
    """How a ranker is trained on the way, and of which kind it is."""
    sequence: SequenceTraining = field(default_factory=SequenceTraining)
    """How a sequence model is trained on the way."""
    trains_sequence: bool = True
    """Whether one is."""
    fits_sources: bool = True
    """Whether the weights of the candidate sources are fitted on the way, where the strategy has none by session."""
    checkpoint: Checkpoint | None = None
    """A trained ranker of that kind, which is judged; None: one that is trained on the way."""
    fine_tunes: bool = False
    """Whether the checkpoint is trained further on the way, from where it stands; else it is judged as it is."""

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.checkpoint.kind != self.fit.kind:
            raise ValueError(
                f"the checkpoint {self.checkpoint.version} holds the ranker {self.checkpoint.kind!r}, "
                f"not {self.fit.kind!r}"
            )

    @property
    def trains(self) -> bool:
        """Whether a ranker is trained on the way."""
        return self.checkpoint is None or self.fine_tunes
