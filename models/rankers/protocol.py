"""What a ranker is: candidates in, a score each out. What a learner is: a ranker that examples change."""

from typing import Protocol

from models.numeric.arrays import Floats
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import Inputs, Labelled


class Ranker(Protocol):
    """Scores candidates, keeping nothing between two calls; a query's scores depend on that query alone."""

    def score(self, inputs: Inputs) -> Floats:
        """Score the (B, C) candidates as (B, C) float32."""


class Learner(Ranker, Protocol):
    """A ranker that learns online. The same examples in the same batches make the same learner."""

    def learn(self, labelled: Labelled) -> None:
        """Take one step on a batch of slates."""

    def losses(self, labelled: Labelled) -> Floats:
        """Return one loss a slate, (B,); NaN for a slate that this loss can say nothing about."""

    def snapshot(self) -> bytes:
        """Pack all that learning goes on from."""

    def checkpoint(self) -> Checkpoint:
        """Freeze what has been learned, for serving; later steps do not change it."""
