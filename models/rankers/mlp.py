"""A small multi-layer perceptron over the logged features of one candidate."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from models.rankers.network import Network, NetworkConfig


@dataclass(frozen=True, slots=True)
class MLPConfig(NetworkConfig):
    """The shape of the network."""

    hidden: tuple[int, int] = (32, 16)


class MLP(Network):
    """F -> 32 -> 16 -> 1, rectified, over standardised features."""

    kind = "mlp"
    reads_ids = False

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        first, second = config.hidden
        self.input = nn.Linear(config.n_features, first)
        self.middle = nn.Linear(first, second)
        self.output = nn.Linear(second, 1)

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:  # noqa: ARG002 - ids play no part
        """Score (..., F) features: (...,)."""
        x = self.standardised(features)  # (..., F)
        x = functional.relu(self.input(x))  # (..., 32)
        x = functional.relu(self.middle(x))  # (..., 16)
        scores: Tensor = self.output(x).squeeze(-1)  # (...,)
        return scores
