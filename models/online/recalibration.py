"""Keeps the chances of the funnel in service true while it serves: moved rates need not wait for better weights."""

import copy

import numpy as np

from models.numeric.arrays import Doubles
from models.rankers.calibration import Calibration
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.funnel import Funnel
from models.rankers.funnel_learner import calibrate
from models.rankers.inputs import Labelled

CONTRADICTED = 3.0
"""Standard deviations by which a stage has to come about more or less often than was said, and by a twentieth at least.
Another calibration does little harm, and better weights have to prove themselves: so this is asked at every decision,
at no common level."""
LEAST_CHANGE = 0.05


class Recalibration:
    """What became of what the version in service said.

    Parameters
    ----------
    sums : (S, N, 3) as `Calibration` keeps them.
    """

    def __init__(self, sums: Doubles | None = None) -> None:
        self.seen = Calibration()
        if sums is not None:
            self.seen.sums = sums.copy()

    def add(self, service: Checkpoint, labelled: Labelled) -> None:
        """Take what became of slates, whatever version they carried the chances of."""
        calibrate(_funnel_of(service), self.seen, labelled)

    def corrected(self, service: Checkpoint) -> Checkpoint | None:
        """Return the version with another calibration, where its own is contradicted; its version is the old one's."""
        now = _funnel_of(service).calibration.numpy().astype(np.float64)
        model = copy.deepcopy(_funnel_of(service))
        model.calibration.copy_(self.seen.fit())
        new = model.calibration.numpy().astype(np.float64)
        is_wrong = (self.seen.deviations(now) > CONTRADICTED) & (self.seen.gaps(now) > LEAST_CHANGE)
        is_better = self.seen.deviations(new) < self.seen.deviations(now)
        if not (is_wrong & is_better).any():
            return None
        return Checkpoint(model, service.version, weights_digest(model), service.provenance, service.loss)


def _funnel_of(checkpoint: Checkpoint) -> Funnel:
    assert isinstance(checkpoint.model, Funnel)  # noqa: S101 - versions are what the learner was
    return checkpoint.model
