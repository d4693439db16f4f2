"""A small multi-layer perceptron over the logged features of one candidate."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.arrays import Floats

BLOCK = 64
"""Rows that a scored batch is filled up to a multiple of."""


@dataclass(frozen=True, slots=True)
class MLPConfig:
    """The shape of the network."""

    n_features: int
    hidden: tuple[int, int] = (32, 16)


class MLP(nn.Module):
    """F -> 32 -> 16 -> 1, rectified, over standardised features.

    The mean and the scale of each feature are buffers, so a checkpoint carries the standardisation that it
    was trained with.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        first, second = config.hidden
        self.register_buffer("mean", torch.zeros(config.n_features))
        self.register_buffer("scale", torch.ones(config.n_features))
        self.input = nn.Linear(config.n_features, first)
        self.middle = nn.Linear(first, second)
        self.output = nn.Linear(second, 1)

    def standardise(self, features: Tensor) -> None:
        """Take mean and scale from (M, F) training rows; a feature that never varies is only centred."""
        spread = features.std(dim=0, correction=0)
        self.mean.copy_(features.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-6, spread, torch.ones_like(spread)))

    def forward(self, features: Tensor) -> Tensor:
        """Score (..., F) features: (...,)."""
        x = (features - self.mean) / self.scale  # (..., F)
        x = functional.relu(self.input(x))  # (..., 32)
        x = functional.relu(self.middle(x))  # (..., 16)
        scores: Tensor = self.output(x).squeeze(-1)  # (...,)
        return scores


class MLPRanker:
    """A trained `MLP` made ready for serving: frozen, and the standardisation folded into the first layer."""

    def __init__(self, model: MLP) -> None:
        with torch.no_grad():
            self._first = (model.input.weight / model.scale).T.contiguous()  # (F, 32)
            self._first_bias = model.input.bias - model.mean @ self._first  # (32,)
            self._second = model.middle.weight.T.contiguous()  # (32, 16)
            self._second_bias = model.middle.bias.clone()
            self._last = model.output.weight.T.contiguous()  # (16, 1)
            self._last_bias = model.output.bias.clone()

    @torch.inference_mode()
    def score(self, features: Floats) -> Floats:
        """Score (B, C, F) features as (B, C).

        Matrix products round differently for a few rows than for many, and a replay cuts the stream into
        other batches; so that a query's scores do not depend on its company, rows are filled up to whole
        blocks.
        """
        n = features.shape[0] * features.shape[1]
        rows = features.reshape(n, features.shape[2])
        if n % BLOCK:
            rows = np.concatenate([rows, np.zeros((-n % BLOCK, rows.shape[1]), np.float32)])
        x = torch.from_numpy(rows)  # (M, F)
        x = torch.addmm(self._first_bias, x, self._first).relu_()  # (M, 32)
        x = torch.addmm(self._second_bias, x, self._second).relu_()  # (M, 16)
        scores: Floats = torch.addmm(self._last_bias, x, self._last)[:n].numpy()  # (M, 1)
        return scores.reshape(features.shape[:2])
