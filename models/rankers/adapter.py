"""Fine-tuning without forgetting: a trained network that stays as it is, and a small correction that learns."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.names import FEATURES
from models.rankers.network import Network


class Adapted(Network):
    """Adds a weighted sum of the features to a frozen network's score; as new, it adds nothing.

    References
    ----------
    N. Houlsby et al. Parameter-efficient transfer learning for NLP. ICML 2019: small modules that begin as the
    identity, on weights that stay.
    """

    kind = "adapted"

    def __init__(self, base: Network) -> None:
        super().__init__(base.config)
        self.base = base.requires_grad_(requires_grad=False)
        self.reads_ids = base.reads_ids
        self.features = base.features
        self.columns = base.columns
        self.mean.copy_(base.mean)
        self.scale.copy_(base.scale)
        self.weight = nn.Parameter(torch.zeros(base.config.n_features))
        self.bias = nn.Parameter(torch.zeros(()))

    def take_features(self, names: Sequence[str], among: Sequence[str] = FEATURES) -> None:
        """Find the features of both; see `Network.take_features`."""
        super().take_features(names, among)
        self.base.take_features(names, among)

    def encode(self, users: Tensor, histories: Tensor) -> Tensor:
        """Encode as the frozen network does."""
        return self.base.encode(users, histories)

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:
        """Score (..., F) features: the frozen network's (...,) scores, corrected."""
        correction = self.standardised(features) @ self.weight + self.bias
        return self.base.rate(features, items, context) + correction

    def described(self) -> dict[str, object]:
        """Say what the frozen network is."""
        return {"kind": self.kind, "base": self.base.described()}
