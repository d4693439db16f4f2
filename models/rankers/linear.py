"""The simplest network: a weighted sum of the logged features."""

import torch
from torch import Tensor, nn

from models.rankers.network import Network, NetworkConfig


class Linear(Network):
    """One weight a feature; with a logistic loss, logistic regression."""

    kind = "linear"
    reads_ids = False

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.weight = nn.Parameter(torch.zeros(config.n_features))
        self.bias = nn.Parameter(torch.zeros(()))

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:  # noqa: ARG002 - ids play no part
        """Score (..., F) features: (...,)."""
        return self.standardised(features) @ self.weight + self.bias
