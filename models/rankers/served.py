"""What serves: the order of the blend, or a trained network."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.names import FEATURES
from models.numeric.arrays import Floats, Int64s
from models.rankers.adapter import Adapted
from models.rankers.funnel import Funnel
from models.rankers.inputs import Inputs
from models.rankers.network import Network

BLOCK = 64
"""Rows that a scored batch is filled up to a multiple of."""
_BLEND_COLUMN = FEATURES.index("blend")


class Ranker(Protocol):
    """Scores candidates, keeping nothing between two calls; a query's scores depend on that query alone."""

    def score(self, inputs: Inputs) -> Floats:
        """Score the (B, C) candidates as (B, C) float32."""


class BlendRanker:
    """Ranks by the blend of the candidate sources."""

    def score(self, inputs: Inputs) -> Floats:
        """Take the (B, C) blend out of the features."""
        return inputs.features[..., _BLEND_COLUMN]


class NetworkRanker:
    """Scores by a network that nobody changes.

    Matrix products round differently for a few rows than for many, and a replay cuts the stream into other batches;
    so that a query's scores do not depend on its company, rows are filled up to whole blocks.

    Parameters
    ----------
    device : where it computes, as PyTorch names it.
    """

    def __init__(self, network: Network, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = network.eval().to(self._device)

    @torch.inference_mode()
    def score(self, inputs: Inputs) -> Floats:
        """Score the (B, C) candidates as (B, C)."""
        b, c, f = inputs.features.shape
        features = self._filled(inputs.features.reshape(b * c, f))
        if self._network.reads_ids:
            context = self._network.encode(self._filled(inputs.users), self._filled(inputs.histories))[:b]  # (B, D)
            items = self._filled(inputs.items.reshape(b * c))
            rows = self._network.rate(features, items, _fill(context.repeat_interleave(c, dim=0)))
        else:
            nothing = features.new_empty(0)
            rows = self._network.rate(features, nothing, nothing)
        scores: Floats = rows[: b * c].cpu().numpy()
        return scores.reshape(b, c)

    def _filled(self, array: NDArray[np.generic]) -> Tensor:
        return _fill(torch.from_numpy(np.ascontiguousarray(array)).to(self._device))


class FunnelRanker(NetworkRanker):
    """Says how probable the stages of a funnel are."""

    def __init__(self, network: Funnel, device: str = "cpu") -> None:
        super().__init__(network, device)
        self._funnel = network

    @torch.inference_mode()
    def chances(self, features: Floats, positions: Int64s) -> Floats:
        """Say how probable each stage is: (B, L, S), of (B, L, F) features and (B, L) positions from 0.

        They are the same to six digits in whatever company: logarithms of single precision would differ in the last
        digit, by their place in a vector.
        """
        b, length, f = features.shape
        given = self._funnel.given(self._filled(features.reshape(b * length, f)))[: b * length].double()
        placed = torch.from_numpy(positions.reshape(b * length)).to(self._device)
        chances: Floats = self._funnel.calibrated(self._funnel.logits(given, placed)).sigmoid().cpu().numpy()
        return chances.reshape(b, length, -1)


def served(network: Network, device: str = "cpu") -> NetworkRanker:
    """Serve a network as what it is, an adapted one as if it had been trained whole."""
    if isinstance(network, Adapted):
        network = network.merged()
    return FunnelRanker(network, device) if isinstance(network, Funnel) else NetworkRanker(network, device)


def _fill(rows: Tensor) -> Tensor:
    """Append zeros to (M, ...) up to a whole number of blocks."""
    missing = -len(rows) % BLOCK
    return torch.cat([rows, rows.new_zeros((missing, *rows.shape[1:]))]) if missing else rows


class DeviceError(ValueError):
    """There is no such device here; the text says which there are."""


def require_device(name: str) -> None:
    """Check that PyTorch can compute on a device.

    Raises
    ------
    DeviceError
        Where it cannot.
    """
    try:
        torch.zeros(1, device=name)
    # A build without CUDA asserts; which error it is else depends on the device.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise DeviceError(f"there is no device {name!r} here, there are {', '.join(found)}") from error
