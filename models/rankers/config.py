"""How a network learns, apart from what needs PyTorch: the settings hold it, and load nothing heavy with it."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from models.names import FineTune, Loss


@dataclass(frozen=True)
class LearnerConfig:
    """How a network learns online."""

    loss: Loss = "cross_entropy"
    """What it learns by where it starts from nothing; from a checkpoint it goes on by the checkpoint's own."""
    learning_rate: Annotated[float, Meta(gt=0)] = 3e-3
    fine_tune: FineTune = "all"
    """`adapter` leaves the checkpoint's weights as they are, and learns a correction of low rank at every layer
    (`models.rankers.adapter`)."""
    device: str = "cpu"
    """Where networks learn and score, as PyTorch names it: `cpu`, `cuda`."""
