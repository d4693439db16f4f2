"""River's follow-the-regularised-leader: a linear model that learns example by example."""

from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
import torch
from river import linear_model, optim
from river.utils import VectorDict

from models.names import Loss
from models.numeric.arrays import Floats
from models.rankers.checkpoint import Checkpoint, weights_digest
from models.rankers.inputs import Inputs, Labelled
from models.rankers.linear import Linear
from models.rankers.losses import slate_losses
from models.rankers.network import NetworkConfig

FORMAT = 1
_STATE = tuple[Loss, float, list[float], list[float], list[float]]


class FTRL:
    """Logistic or linear regression on the logged features, by River's FTRL-Proximal.

    River learns in Python, one item at a time; scoring takes the weights out, so that a batch is one dot product.

    Parameters
    ----------
    loss : `cross_entropy` or `mse`.
    alpha : the learning rate's scale.

    Raises
    ------
    ValueError
        With another loss.

    References
    ----------
    H. B. McMahan et al. Ad click prediction: a view from the trenches. KDD 2013.
    """

    def __init__(self, n_features: int, loss: Loss = "cross_entropy", alpha: float = 0.05) -> None:
        if loss == "softmax":
            raise ValueError("ftrl learns item by item, so it has no softmax loss: choose cross_entropy or mse")
        self._loss: Loss = loss
        self._alpha = alpha
        self._names = range(n_features + 1)  # the last one is the intercept's, a feature that is always 1
        self._optimizer: Any = optim.FTRLProximal(alpha=alpha, l2=0.0)
        model = linear_model.LogisticRegression if loss == "cross_entropy" else linear_model.LinearRegression
        self._model: Any = model(self._optimizer, intercept_lr=0)

    def score(self, inputs: Inputs) -> Floats:
        """Score the (B, C) candidates as (B, C): for the logistic loss, the log-odds."""
        weights = self._weights
        scores: Floats = inputs.features @ weights[:-1] + weights[-1]
        return scores

    def losses(self, labelled: Labelled) -> Floats:
        """Return one loss a slate, (B,)."""
        scores, labels, weights = map(
            torch.from_numpy, (self.score(labelled.inputs), labelled.labels, labelled.weights)
        )
        losses: Floats = slate_losses(self._loss, scores, labels, weights).numpy()
        return losses

    def learn(self, labelled: Labelled, rate: float = 1.0) -> None:
        """Take one step an item, slate by slate; `rate` weighs them, as the steps' own sizes follow from their sums."""
        inverse = labelled.inverse_examination
        for slate, place in zip(*np.nonzero(labelled.present), strict=True):
            row = [*labelled.inputs.features[slate, place].tolist(), 1.0]
            x = {name: value for name, value in zip(self._names, row, strict=True) if value}  # a 0 teaches nothing
            label = float(labelled.labels[slate, place])
            y = label > 0 if self._loss == "cross_entropy" else label
            weight = labelled.weights[slate, place] * (inverse[slate, place] if label > 0 else 1.0)
            self._model.learn_one(x, y, w=rate * float(weight))

    def checkpoint(self) -> Checkpoint:
        """Freeze the weights as a linear network."""
        weights = torch.from_numpy(self._weights)
        model = Linear(NetworkConfig(len(weights) - 1))
        with torch.no_grad():
            model.weight.copy_(weights[:-1])
            model.bias.copy_(weights[-1])
        digest = weights_digest(model)
        return Checkpoint(model.eval(), digest[:8], digest, {}, self._loss)

    def snapshot(self) -> bytes:
        """Pack the weights, and the two sums that the optimiser keeps of each."""
        held = self._model.weights, self._optimizer.z, self._optimizer.n
        sums = [[float(values.get(name, 0.0)) for name in self._names] for values in held]
        return bytes([FORMAT]) + msgspec.msgpack.encode((self._loss, self._alpha, *sums))

    @classmethod
    def restore(cls, packed: bytes, columns: Sequence[int], n_features: int) -> Self:
        """Go on from a snapshot; of features that it did not know, nothing has been learned.

        Parameters
        ----------
        columns : where each of its features stands among the `n_features` of now.

        Raises
        ------
        ValueError
            Where it is of another format, or damaged.
        """
        if packed[:1] != bytes([FORMAT]):
            raise ValueError(f"an ftrl snapshot of format {packed[:1]!r}: this release reads format {FORMAT}")
        try:
            loss, alpha, weights, z, n = msgspec.msgpack.decode(packed[1:], type=_STATE)
        except msgspec.DecodeError as error:
            raise ValueError(f"an ftrl snapshot is damaged: {error}") from error
        if len(weights) != len(columns) + 1:
            raise ValueError(f"an ftrl snapshot of {len(weights) - 1} features, {len(columns)} are named")
        learner = cls(n_features, loss, alpha)
        names = [*columns, n_features]
        if any(n):
            learner._model._weights = VectorDict(dict(zip(names, weights, strict=True)))  # noqa: SLF001
            learner._optimizer.z.update(zip(names, z, strict=True))
            learner._optimizer.n.update(zip(names, n, strict=True))
        return learner

    @property
    def _weights(self) -> Floats:
        """(F + 1,) weights, the intercept's last."""
        held = self._model.weights
        return np.array([held.get(name, 0.0) for name in self._names], np.float32)
