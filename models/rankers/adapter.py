"""Fine-tuning without forgetting: a trained network that stays as it is, and small corrections that learn."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.names import FEATURES
from models.rankers.network import Network

RANK = 4
"""Of the correction of a matrix."""


class LowRank(nn.Module):
    """Corrects a weight: a matrix by the product of two thin ones, anything smaller whole; at first by nothing."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        if weight.dim() < 2:
            self.up, self.down = nn.Parameter(torch.zeros_like(weight)), None
            return
        n_out, n_in = weight.shape
        self.up = nn.Parameter(torch.zeros(n_out, rank))
        self.down = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with its correction."""
        return weight + (self.up if self.down is None else self.up @ self.down)


class Adapted(Network):
    """A frozen network with a correction of low rank at every layer; as new, it scores as that network does.

    References
    ----------
    E. J. Hu et al. LoRA: low-rank adaptation of large language models. ICLR 2022; biases whole, as E. Ben Zaken et al.
    BitFit. ACL 2022.

    Parameters
    ----------
    base : becomes part of this, and is changed: its weights are frozen and wrapped.
    rank : of each matrix's correction.
    """

    kind = "low_rank"

    def __init__(self, base: Network, rank: int = RANK) -> None:
        super().__init__(base.config)
        self.rank = rank
        self._plain = (copy.deepcopy(base),)  # in a tuple, so that it is no part of the weights
        self.base = base.requires_grad_(requires_grad=False)
        self.reads_ids = base.reads_ids
        self.features = base.features
        self.columns = base.columns
        self.mean.copy_(base.mean)
        self.scale.copy_(base.scale)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for module in list(base.modules()):
                for name, weight in list(module.named_parameters(recurse=False)):
                    parametrize.register_parametrization(module, name, LowRank(weight, rank))

    def take_features(self, names: Sequence[str], among: Sequence[str] = FEATURES) -> None:
        """Find the features of both; see `Network.take_features`."""
        super().take_features(names, among)
        self.base.take_features(names, among)

    def standardise(self, features: Tensor) -> None:
        """Take mean and scale for both."""
        super().standardise(features)
        self.base.mean.copy_(self.mean)
        self.base.scale.copy_(self.scale)

    def encode(self, users: Tensor, histories: Tensor) -> Tensor:
        """Encode as the network does, corrected."""
        return self.base.encode(users, histories)

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:
        """Score (..., F) features as the network does, corrected: (...,)."""
        return self.base.rate(features, items, context)

    def described(self) -> dict[str, object]:
        """Say what the frozen network is."""
        return {"kind": self.kind, "rank": self.rank, "base": self._plain[0].described()}

    def merged(self) -> Network:
        """Return a copy as one network, which scores the same and sooner, and learns no further."""
        return self._without_corrections(getattr)

    def frozen(self) -> Network:
        """Return a copy of the network as it was."""
        return self._without_corrections(lambda module, name: module.parametrizations[name].original)

    @torch.no_grad()
    def _without_corrections(self, weight_of: Callable[[Any, str], Tensor]) -> Network:
        network = copy.deepcopy(self._plain[0])
        for path, weight in network.named_parameters():
            module, _, name = path.rpartition(".")
            weight.copy_(weight_of(self.base.get_submodule(module), name))
        network.features, network.columns = self.base.features, self.base.columns
        network.mean, network.scale = self.base.mean.clone(), self.base.scale.clone()
        return network.to(self.base.mean.device).eval()
