"""A recurrent network over what the user did last: which items go on from there."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.rankers.network import HashedEmbedding, Network, NetworkConfig


@dataclass(frozen=True, slots=True)
class GRUConfig(NetworkConfig):
    """The shape of the network."""

    n_rows: int = 4_096
    """Of the table of hashed item ids."""
    n_dimensions: int = 16
    n_hidden: int = 32


class GRU(Network):
    """A gated recurrent unit reads the items from the oldest to the newest; its state is compared with a candidate.

    The score is the product of the state, projected, and the item's vector, plus a weighted sum of the features.

    References
    ----------
    B. Hidasi, A. Karatzoglou, L. Baltrunas, D. Tikk. Session-based recommendations with recurrent neural networks.
    ICLR 2016. The features are ours, and so are hashed ids in the place of a vocabulary.
    """

    kind = "gru"

    def __init__(self, config: GRUConfig) -> None:
        super().__init__(config)
        self.items = HashedEmbedding(config.n_rows, config.n_dimensions)
        self.memory = nn.GRUCell(config.n_dimensions, config.n_hidden)
        self.project = nn.Linear(config.n_hidden, config.n_dimensions)
        self.weight = nn.Parameter(torch.zeros(config.n_features))
        self.bias = nn.Parameter(torch.zeros(()))

    def encode(self, users: Tensor, histories: Tensor) -> Tensor:  # noqa: ARG002 - who it is plays no part
        """Read (B, H) histories, newest first: (B, D). Where there is no item the state stays as it is."""
        vectors = self.items(histories)  # (B, H, D)
        state = vectors.new_zeros((len(histories), self.memory.hidden_size))  # (B, S)
        for step in range(histories.shape[1] - 1, -1, -1):
            known = (histories[:, step] != 0)[:, None]
            state = torch.where(known, self.memory(vectors[:, step], state), state)
        projected: Tensor = self.project(state)
        return projected

    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:
        """Score (..., F) features of (...,) items after a (..., D) past: (...,)."""
        likeness = (context * self.items(items)).sum(dim=-1)  # (...,)
        scores: Tensor = likeness + self.standardised(features) @ self.weight + self.bias
        return scores
