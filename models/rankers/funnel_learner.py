"""The funnel as an online learner: a step of Adam a batch, and a calibration by what was predicted before it."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.numeric.arrays import Bools, Doubles, Floats
from models.rankers.calibration import Calibration
from models.rankers.config import LearnerConfig
from models.rankers.funnel import Funnel
from models.rankers.inputs import Labelled
from models.rankers.network import Network
from models.rankers.network_learner import NetworkLearner

StageLogits: TypeAlias = Tensor
"""(B, L, S) calibrated logits of each stage, of each item of a slate."""
_ALIKE = 1e-3
"""Logits so close have the slope of the one or the other, since a quotient of such small differences is inexact."""
_GUESSED_ODDS = 0.05
"""Of a later stage given a click, where nothing was clicked yet."""


class FunnelLearner(NetworkLearner):
    """A funnel, its optimiser and its calibration.

    Parameters
    ----------
    network : a `Funnel`; is copied, and not changed.

    Raises
    ------
    ValueError
        Where it is of another kind, or only an adapter is to be learned.
    """

    def __init__(self, network: Network, config: LearnerConfig | None = None) -> None:
        super().__init__(network, config)
        if not isinstance(self._network, Funnel):
            raise ValueError("a funnel is learned as a whole, from a network of its own kind")  # noqa: TRY004 - input
        self._funnel = self._network
        self.calibration = Calibration()

    def learn(self, labelled: Labelled, rate: float = 1.0) -> None:
        """Take one step on a batch of slates; the first that decides a stage says how frequent it is."""
        self._start_from_rates(labelled)
        super().learn(labelled, rate)

    def losses(self, labelled: Labelled) -> Floats:
        """Return the log-loss of the calibrated chances, one a slate: (B,); NaN where nothing is decided."""
        return log_losses(self.logits(labelled), labelled)

    def logits(self, labelled: Labelled) -> StageLogits:
        """Return what it says of slates, calibrated."""
        return calibrated_logits(self._funnel, labelled)

    def calibrate(self, labelled: Labelled) -> None:
        """Take into account what became of slates that have taught nothing yet."""
        if not self._network.is_raw:
            calibrate(self._funnel, self.calibration, labelled)
            self._funnel.calibration.copy_(self.calibration.fit())

    def _losses(self, labelled: Labelled) -> Tensor:
        return _sum_up(_logits(self._funnel, labelled), labelled)

    def _start_from_rates(self, labelled: Labelled) -> None:
        stages, decided = _outcomes(labelled)
        known = labelled.present[..., None] & decided[:, None]
        among = np.concatenate([known[..., :1], known[..., 1:] & stages[..., :1]], axis=2)  # later ones: of the clicked
        n, came_true = among.sum(axis=(0, 1)), (stages & among).sum(axis=(0, 1))
        odds = np.where(n, (came_true + 0.5) / (n - came_true + 0.5), _GUESSED_ODDS)
        for s in np.flatnonzero(known.any(axis=(0, 1))).tolist():
            if not self._funnel.started[s]:
                with torch.no_grad():
                    self._funnel.heads.bias[s] = float(np.log(odds[s]))
                    self._funnel.started[s] = 1.0

    def _also_kept(self) -> Mapping[str, Tensor]:
        return {"sums.calibration": torch.from_numpy(self.calibration.sums)}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        self.calibration.sums = tensors["sums.calibration"].numpy().copy()


@torch.inference_mode()
def calibrate(network: Funnel, calibration: Calibration, labelled: Labelled) -> None:
    """Add what a funnel says of slates, and what became of them."""
    stages, decided = _outcomes(labelled)
    present = labelled.present
    logits: Floats = _logits(network, labelled).cpu().numpy()  # (B, L, S)
    known = (present[..., None] & decided[:, None])[present]  # (M, S)
    calibration.add(logits[present], stages[present], known)


@torch.inference_mode()
def calibrated_logits(network: Funnel, labelled: Labelled) -> StageLogits:
    """Return what a funnel says of slates, calibrated."""
    return network.calibrated(_logits(network, labelled)).cpu()


def rates_logits(rates: Doubles, labelled: Labelled) -> StageLogits:
    """Give every item the same (S,) chances."""
    return torch.logit(torch.from_numpy(rates).float()).expand(*labelled.labels.shape, -1)


@torch.inference_mode()
def log_losses(logits: StageLogits, labelled: Labelled) -> Floats:
    """Return the log-loss of chances, one a slate: (B,); NaN where nothing is decided."""
    losses: Floats = _sum_up(logits, labelled).numpy()
    return losses


@torch.inference_mode()
def chance_variances(logits: StageLogits, others: StageLogits, labelled: Labelled) -> Floats:
    """Return the variance of the difference of two log-losses if neither is better: (B,).

    Logits a and b of one outcome are as good as each other where its chance is the mean slope of log(1 + exp) between
    them, p = (log(1 + exp a) - log(1 + exp b)) / (a - b). The outcome then adds a - b with that chance, so its variance
    is p (1 - p) (a - b)^2. Stages of an item hang together, and their deviations add up at most; items count by
    themselves.
    """
    _, decided = _outcomes(labelled)
    apart = logits - others
    are_alike = apart.abs() < _ALIKE
    slope = (functional.softplus(logits) - functional.softplus(others)) / apart.masked_fill(are_alike, 1.0)
    chances = torch.where(are_alike, torch.sigmoid(logits), slope).clamp(0.0, 1.0)
    deviations = torch.sqrt(chances * (1 - chances)) * apart.abs()  # (B, L, S)
    of_items = deviations.masked_fill(~torch.from_numpy(decided)[:, None], 0.0).sum(dim=2)
    present = torch.from_numpy(labelled.present)
    total: Floats = (
        of_items.square().masked_fill(~present, 0.0).sum(dim=1) / present.sum(dim=1).clamp(min=1).square()
    ).numpy()
    return total


def decided_outcomes(labelled: Labelled) -> Bools:
    """Return (B, L, S) whether an item reached a stage of which it is known by now whether it did."""
    stages, decided = _outcomes(labelled)
    return stages & decided[:, None] & labelled.present[..., None]


def _outcomes(labelled: Labelled) -> tuple[Bools, Bools]:
    assert labelled.stages is not None  # noqa: S101 - `collate` lays them out
    assert labelled.decided is not None  # noqa: S101
    return labelled.stages, labelled.decided


def _logits(network: Funnel, labelled: Labelled) -> Tensor:
    assert labelled.positions is not None  # noqa: S101 - `collate` lays them out
    device = network.mean.device
    features = torch.from_numpy(labelled.inputs.features).to(device)
    return network.logits(network.given(features), torch.from_numpy(labelled.positions).to(device))


def _sum_up(logits: Tensor, labelled: Labelled) -> Tensor:
    """Add up the stages' log-losses of (B, L, S) logits, and average over a slate's items: (B,)."""
    stages, decided = _outcomes(labelled)
    present = torch.from_numpy(labelled.present).to(logits.device)
    known = torch.from_numpy(decided).to(logits.device)[:, None] & present[..., None]  # (B, L, S)
    labels = torch.from_numpy(stages).to(logits)
    each = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    total = each.masked_fill(~known, 0.0).sum(dim=(1, 2)) / present.sum(dim=1).clamp(min=1)
    return total.masked_fill(~known.any(dim=(1, 2)), float("nan"))
