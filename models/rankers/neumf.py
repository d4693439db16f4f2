"""Neural matrix factorisation: who the user is, what the item is, and the logged features of the two."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.rankers.network import HashedEmbedding, Network, NetworkConfig


@dataclass(frozen=True, slots=True)
class NeuMFConfig(NetworkConfig):
    """The shape of the network."""

    n_rows: int = 4_096
    """Of each table of hashed ids."""
    n_dimensions: int = 16
    """Of each of the two vectors that a user and an item have."""
    hidden: tuple[int, int] = (32, 16)


class NeuMF(Network):
    """The product of a user's and an item's vector, beside a perceptron over two others and the features.

    References
    ----------
    X. He, L. Liao, H. Zhang, L. Nie, X. Hu, T.-S. Chua. Neural collaborative filtering. WWW 2017. The features are
    ours, and so are hashed ids in the place of a vocabulary.
    """

    kind = "neumf"

    def __init__(self, config: NeuMFConfig) -> None:
        super().__init__(config)
        d, (first, second) = config.n_dimensions, config.hidden
        self.users = HashedEmbedding(config.n_rows, 2 * d)
        self.items = HashedEmbedding(config.n_rows, 2 * d)
        self.input = nn.Linear(2 * d + config.n_features, first)
        self.middle = nn.Linear(first, second)
        self.output = nn.Linear(d + second, 1)

    def encode(self, users: Tensor, histories: Tensor) -> Tensor:  # noqa: ARG002 - the past plays no part
        """Look up (B,) users: (B, 2 D)."""
        vectors: Tensor = self.users(users)
        return vectors

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:
        """Score (..., F) features of (...,) items for a user's (..., 2 D) vectors: (...,)."""
        user_product, user_deep = context.chunk(2, dim=-1)  # (..., D) each
        item_product, item_deep = self.items(items).chunk(2, dim=-1)  # (..., D) each
        x = torch.cat([user_deep, item_deep, self.standardised(features)], dim=-1)
        x = functional.relu(self.input(x))  # (..., 32)
        x = functional.relu(self.middle(x))  # (..., 16)
        scores: Tensor = self.output(torch.cat([user_product * item_product, x], dim=-1)).squeeze(-1)
        return scores
