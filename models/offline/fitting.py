"""The one way in which a ranker is fitted to examples: by `eddy train`, and by backtests on the way."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from models.offline.walk import Examples
from models.rankers.checkpoint import Checkpoint
from models.rankers.fit import Report, TrainConfig, fit
from models.rankers.network import Network

MAX_EXAMPLES = 60_000
"""About so many are kept, drawn at random; 18 KB each."""
LEAST_EXAMPLES = 200
"""With fewer, nothing is trained."""


class Gathered:
    """Keeps a share of the examples that a ranker can learn from, drawn at random.

    Parameters
    ----------
    share : of the examples, at least 0.
    seed : the same seed keeps the same ones.
    """

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._rng = np.random.default_rng(seed)
        self._parts: list[Examples] = []

    @property
    def n(self) -> int:
        """How many were kept."""
        return sum(part.n for part in self._parts)

    def add(self, examples: Examples) -> None:
        """Keep some."""
        self._parts.append(examples[examples.answered & (self._rng.random(examples.n) < self._share)])

    def all(self) -> Examples:
        """Return all that was kept, one example at least."""
        return Examples.joined(self._parts)

    def enough(self, least: int) -> Examples:
        """Return all that was kept.

        Raises
        ------
        ValueError : that is fewer than `least`.
        """
        if self.n < max(least, 1):
            raise ValueError(
                f"there are {self.n:,} examples, slates whose candidates hold what came next: "
                f"{max(least, 1):,} are needed at least, since nothing is known of a ranker by fewer"
            )
        return self.all()


class Validated(NamedTuple):
    """A network that has not seen the newest examples."""

    model: Network
    held_out: Examples
    """The newest ones."""
    loss: float
    """On these, the best epoch's."""
    n_epochs: int
    """Until the best one: a network that goes on learns the past by heart."""


def validated(
    examples: Examples, config: TrainConfig, report: Report | None = None, start: Checkpoint | None = None
) -> Validated:
    """Fit a network to all examples but the newest, which say what it is worth; parameters as of `fit`."""
    losses: list[float] = []

    def noted(epoch: int, train_loss: float, valid_loss: float) -> None:
        losses.append(valid_loss)
        if report is not None:
            report(epoch, train_loss, valid_loss)

    model = fit(examples.inputs, examples.label_index, examples.present, config, noted, start)
    held_out = examples[-max(1, round(examples.n * config.valid_share)) :]
    return Validated(model, held_out, min(losses), 1 + losses.index(min(losses)))


def refitted(
    examples: Examples,
    config: TrainConfig,
    n_epochs: int,
    report: Report | None = None,
    start: Checkpoint | None = None,
) -> Network:
    """Fit a network once more, to all examples: what serves has learned from the newest as well.

    Parameters
    ----------
    n_epochs : as many as were best where the newest examples were held out.
    """
    on_all = replace(config, valid_share=0.0)
    return fit(examples.inputs, examples.label_index, examples.present, on_all, report, start, n_epochs)
