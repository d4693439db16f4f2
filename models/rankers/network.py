"""What all networks share: standardised features, hashed ids, and a query's part computed once a query."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.names import FEATURES


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The shape of a network; each kind has its own."""

    n_features: int


class Network(nn.Module, ABC):
    """Scores a candidate by its features, its id, and what is known of the query.

    The mean and the scale of each feature are buffers, so a checkpoint carries the standardisation that it was
    trained with. A network that was trained on other columns than there are now takes its own out of them, by name
    (`take_features`): so what is computed for other networks may come and go.
    """

    kind: str
    """The name of the architecture, in checkpoints."""
    reads_ids: bool = True
    """Whether items, users and histories play a part; where not, nobody has to gather them."""
    config: NetworkConfig
    features: tuple[str, ...] | None = None
    """Names of its features, in the order of its weights; None: all columns, as they come."""
    columns: Tensor | None
    """(F,) where its features stand among the columns that come in; None: they are those columns."""
    mean: Tensor
    scale: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("columns", None, persistent=False)
        self.register_buffer("mean", torch.zeros(config.n_features))
        self.register_buffer("scale", torch.ones(config.n_features))

    def take_features(self, names: Sequence[str], among: Sequence[str] = FEATURES) -> None:
        """Find the network's features among the columns that will come in.

        Parameters
        ----------
        names : of its F features, in the order of its weights.
        among : names of the columns.

        Raises
        ------
        ValueError
            Where a feature is none of the columns, or the weights are for another number of features.
        """
        if len(names) != self.config.n_features:
            raise ValueError(f"the weights are for {self.config.n_features} features, {len(names)} are named")
        if missing := [name for name in names if name not in among]:
            raise ValueError(f"no column is called {', '.join(missing)}")
        self.features = tuple(names)
        same = self.features == tuple(among)
        self.columns = None if same else torch.tensor([among.index(name) for name in names])

    def standardise(self, features: Tensor) -> None:
        """Take mean and scale from (M, C) training rows; a feature that never varies is only centred."""
        features = self._own(features)
        spread = features.std(dim=0, correction=0)
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    @property
    def is_raw(self) -> bool:
        """Whether features go in as they come: nobody has standardised them yet."""
        return bool((self.mean == 0).all() and (self.scale == 1).all())

    def standardised(self, features: Tensor) -> Tensor:
        """Take the network's own F features out of (..., C) columns, centred and scaled: (..., F)."""
        return (self._own(features) - self.mean) / self.scale

    def _own(self, features: Tensor) -> Tensor:
        return features if self.columns is None else features.index_select(-1, self.columns)

    def encode(self, users: Tensor, histories: Tensor) -> Tensor:
        """Reduce (B,) users with (B, H) histories to what `rate` needs of them: (B, D), nothing by default."""
        return histories.new_zeros((len(users), 0), dtype=self.mean.dtype)

    @abstractmethod
    def rate(self, features: Tensor, items: Tensor, context: Tensor) -> Tensor:
        """Score (..., F) features of (...,) items beside a (..., D) context: (...,)."""

    def forward(
        self,
        features: Tensor,
        items: Tensor | None = None,
        users: Tensor | None = None,
        histories: Tensor | None = None,
    ) -> Tensor:
        """Score (B, C, F) features as (B, C); ids that are not given are unknown."""
        shape = features.shape[:-1]
        if items is None:
            items = torch.zeros(shape, dtype=torch.int64, device=features.device)
        if users is None or histories is None:
            users, histories = items.new_zeros(shape[:1]), items.new_zeros((*shape[:1], 1))
        context = self.encode(users, histories)  # (B, D)
        return self.rate(features, items, context[:, None].expand(*shape, context.shape[-1]))

    def described(self) -> dict[str, Any]:
        """Say in values of JSON what has to be built before the weights can be loaded."""
        return {"kind": self.kind} | asdict(self.config)


class HashedEmbedding(nn.Module):
    """Vectors for any number of ids in a table of fixed size: each is the sum of two rows.

    Two ids share a vector only where both rows are the same, so a table of n rows tells about n² ids apart. An id
    that was never trained has a vector near 0, the id 0 has exactly that.

    References
    ----------
    D. Svenstrup, J. M. Hansen, O. Winther. Hash embeddings for efficient word representations. NeurIPS 2017.
    """

    def __init__(self, n_rows: int, n_dimensions: int) -> None:
        super().__init__()
        self.n_rows = n_rows
        self.rows = nn.Parameter(torch.randn(n_rows, n_dimensions) * 0.05)

    def forward(self, ids: Tensor) -> Tensor:
        """Look up (...,) hashes: (..., D)."""
        first = self.rows[ids % self.n_rows]
        second = self.rows[torch.div(ids, self.n_rows, rounding_mode="floor") % self.n_rows]
        return (first + second) * (ids != 0)[..., None]


def tuples(config: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the lists that JSON made of tuples back."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}
