"""Any network as an online learner: one step of Adam a batch, on all weights or on small corrections of them."""

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from models.names import FEATURES
from models.numeric.arrays import Floats
from models.rankers.adapter import Adapted
from models.rankers.checkpoint import Checkpoint, find_features, read_tensors, weights_digest, write_tensors
from models.rankers.config import LearnerConfig
from models.rankers.inputs import Inputs, Labelled
from models.rankers.losses import mean_loss, slate_losses
from models.rankers.network import Network
from models.rankers.networks import build
from models.rankers.served import NetworkRanker

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


class NetworkLearner:
    """A network and the optimiser that changes it.

    Parameters
    ----------
    network : is copied, and not changed.
    """

    def __init__(self, network: Network, config: LearnerConfig | None = None) -> None:
        self.config = config or LearnerConfig()
        network = copy.deepcopy(network)
        if self.config.fine_tune == "adapter" and not isinstance(network, Adapted):
            network = Adapted(network)
        self._network = network.to(self.config.device)
        self._ranker = NetworkRanker(self._network, self.config.device)
        self._trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._optimizer = torch.optim.Adam(self._trained.values(), lr=self.config.learning_rate)

    def score(self, inputs: Inputs) -> Floats:
        """Score the (B, C) candidates as (B, C)."""
        return self._ranker.score(inputs)

    def losses(self, labelled: Labelled) -> Floats:
        """Return one loss a slate, (B,)."""
        with torch.inference_mode():
            losses: Floats = self._losses(labelled).cpu().numpy()
        return losses

    def learn(self, labelled: Labelled, rate: float = 1.0) -> None:
        """Take one step on a batch of slates, down their mean loss; the first batch standardises a raw network."""
        if self._network.is_raw:
            self._network.standardise(torch.from_numpy(labelled.inputs.features[labelled.present]))
        loss = mean_loss(self._losses(labelled))
        if loss is None:
            return
        self._optimizer.param_groups[0]["lr"] = rate * self.config.learning_rate
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def checkpoint(self) -> Checkpoint:
        """Freeze what has been learned."""
        model = copy.deepcopy(self._network).cpu().eval()
        digest = weights_digest(model)
        return Checkpoint(model, digest[:8], digest, {}, self.config.loss)

    def snapshot(self) -> bytes:
        """Pack the weights and the optimiser's moments."""
        tensors = {f"network.{name}": tensor for name, tensor in self._network.state_dict().items()}
        for name, parameter in self._trained.items():
            for moment, tensor in self._optimizer.state[parameter].items():
                tensors[f"{moment}.{name}"] = tensor
        tensors |= self._also_kept()
        description = {
            "network": json.dumps(self._network.described()),
            "config": json.dumps(asdict(self.config)),
        }
        if self._network.columns is not None:
            description["features"] = json.dumps(self._network.features)
        return write_tensors(tensors, description)

    @classmethod
    def restore(cls, packed: bytes, device: str | None = None, features: Sequence[str] = FEATURES) -> Self:
        """Go on from a snapshot, on the same device or another.

        Parameters
        ----------
        features : names of the columns that it was taken under.

        Raises
        ------
        CheckpointError
            Where it is none.
        MissingFeatureError
            Where it looks at a feature that is not computed any more.
        """
        description, tensors = read_tensors(packed, "the snapshot")
        config: dict[str, Any] = json.loads(description["config"])
        network = build(json.loads(description["network"]))
        prefix = "network."
        find_features(network, json.loads(description.get("features", "null")) or features, "the snapshot")
        network.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
        learner = cls(network, LearnerConfig(**(config | ({"device": device} if device else {}))))
        for name, parameter in learner._trained.items():
            if f"step.{name}" in tensors:
                learner._optimizer.state[parameter] = {m: tensors[f"{m}.{name}"].clone() for m in _MOMENTS}
        learner._take(tensors)
        return learner

    def _also_kept(self) -> Mapping[str, Tensor]:
        """Return what a snapshot holds beside weights and moments, by names of its own."""
        return {}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `_also_kept` returned."""

    def _losses(self, labelled: Labelled) -> Tensor:
        inputs = labelled.inputs
        features, items, users, histories, labels, weights, inverse = (
            torch.from_numpy(np.ascontiguousarray(array)).to(self.config.device)
            for array in (
                inputs.features, inputs.items, inputs.users, inputs.histories, labelled.labels, labelled.weights,
                labelled.inverse_examination,
            )
        )  # fmt: skip
        scores = self._network(features, items, users, histories)
        return slate_losses(self.config.loss, scores, labels, weights, inverse)
