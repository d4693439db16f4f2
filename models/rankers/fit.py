"""Training a ranker: each list's candidates against the one that was chosen, stopped on the newest lists."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.names import FineTune, Loss, NetworkName
from models.numeric.arrays import Bools, Floats, Int64s
from models.rankers.adapter import Adapted
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import Inputs
from models.rankers.losses import slate_losses
from models.rankers.network import Network
from models.rankers.networks import new_network

Report = Callable[[int, float, float], object]
"""Called after each epoch with its number (from 1), the training and the validation loss."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train."""

    kind: NetworkName = "mlp"
    loss: Loss = "softmax"
    learning_rate: float = 4e-3
    """The largest: it rises to that and falls to nothing within the epochs (Smith and Topin, 2019, one cycle)."""
    weight_decay: float = 1e-4
    batch_size: int = 128
    """Lists a step."""
    max_epochs: int = 10
    patience: int = 3
    """Epochs without a better validation loss before it stops."""
    valid_share: float = 0.2
    """The newest share of the lists, held out; 0 trains on all, to the last epoch."""
    seed: int = 0
    fine_tune: FineTune = "all"
    """What of a trained network learns further; `adapter`: corrections of low rank at every layer."""
    device: str = "cpu"


def fit(
    inputs: Inputs,
    label_index: Int64s,
    present: Bools,
    config: TrainConfig | None = None,
    report: Report | None = None,
    start: Checkpoint | None = None,
    stop_after: int | None = None,
) -> Network:
    """Train a network to put the chosen candidate first.

    Parameters
    ----------
    inputs
        (N, C, ...), the oldest list first: the newest fifth decides when to stop, so no list is judged by its past.
    label_index
        (N,) which of the candidates was chosen.
    present
        (N, C) False where a list has no candidate.
    start
        A trained network of the configured kind to go on from, in the place of a new one.
    stop_after
        Epochs of the schedule after which to stop; None: all of them.
    config
        How to train.
    report
        Called after each epoch with its number (from 1), the training and the validation loss; that is 0 where
        nothing is held out.

    Returns
    -------
    The model of the epoch with the lowest validation loss, of the last where nothing is held out. The same inputs
    and seed give the same weights.

    Raises
    ------
    ValueError
        With fewer than 2 lists, a label that is not among its list's candidates, or a start of another kind.
    """
    config = config or TrainConfig()
    if start is not None and start.kind != config.kind:
        raise ValueError(f"the checkpoint {start.version} holds the ranker {start.kind!r}, not {config.kind!r}")
    n = len(label_index)
    if n < 2:
        raise ValueError(f"training needs at least 2 lists, one of them to validate on; got {n}")
    if not present[range(n), label_index].all():
        raise ValueError("a label points to a candidate that its list does not have")
    n_valid = min(max(1, round(n * config.valid_share)), n - 1) if config.valid_share else 0
    lists = _Lists.of(inputs, label_index, present, config.device)
    train, valid = lists.part(slice(0, n - n_valid)), lists.part(slice(n - n_valid, n))
    model = _first_model(train, config, start)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=config.weight_decay)
    n_steps = config.max_epochs * -(-(n - n_valid) // config.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, n_steps)
    order = torch.Generator().manual_seed(config.seed)
    best, best_loss, waited = copy.deepcopy(model), float("inf"), 0
    for epoch in range(1, (stop_after or config.max_epochs) + 1):
        train_loss = _train_epoch(model, schedule, train, config, order)
        with torch.inference_mode():
            valid_loss = float(_losses(model, valid, config.loss).mean()) if n_valid else 0.0
        if report is not None:
            report(epoch, train_loss, valid_loss)
        if not n_valid or valid_loss < best_loss:
            best, best_loss, waited = copy.deepcopy(model), valid_loss, 0
        else:
            waited += 1
        if waited >= config.patience:
            break
    return best.cpu().eval()


def losses_of(model: Network, inputs: Inputs, label_index: Int64s, present: Bools, loss: Loss) -> Floats:
    """Return a model's loss on each of (B, C) lists: (B,)."""
    with torch.inference_mode():
        losses: Floats = _losses(model, _Lists.of(inputs, label_index, present, "cpu"), loss).numpy()
    return losses


class _Lists(NamedTuple):
    """(N, C) lists as tensors."""

    features: Tensor
    items: Tensor
    users: Tensor
    histories: Tensor
    labels: Tensor
    """(N, C) 1 for the chosen candidate."""
    present: Tensor

    @classmethod
    def of(cls, inputs: Inputs, label_index: Int64s, present: Bools, device: str) -> "_Lists":
        arrays = inputs.features, inputs.items, inputs.users, inputs.histories, label_index, present
        features, items, users, histories, index, here = (
            torch.from_numpy(np.ascontiguousarray(array)).to(device) for array in arrays
        )
        labels = torch.zeros(present.shape, device=device).scatter_(1, index[:, None], 1.0)
        return cls(features, items, users, histories, labels, here)

    @property
    def n(self) -> int:
        return len(self.labels)

    def part(self, chosen: Tensor | slice) -> "_Lists":
        return _Lists(*(tensor[chosen] for tensor in self))


def _first_model(train: _Lists, config: TrainConfig, start: Checkpoint | None) -> Network:
    if start is None:
        model = new_network(config.kind, train.features.shape[2], config.seed).to(config.device)
        model.standardise(train.features[train.present])
        return model
    model = copy.deepcopy(start.model)
    if config.fine_tune == "adapter" and not isinstance(model, Adapted):
        model = Adapted(model)
    return model.to(config.device)


def _train_epoch(
    model: Network,
    schedule: torch.optim.lr_scheduler.OneCycleLR,
    train: _Lists,
    config: TrainConfig,
    order: torch.Generator,
) -> float:
    """Go once over the lists in random order; return the mean loss."""
    total = 0.0
    optimizer = schedule.optimizer
    for chosen in torch.split(torch.randperm(train.n, generator=order), config.batch_size):
        loss = _losses(model, train.part(chosen), config.loss).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(chosen)
    return total / train.n


def _losses(model: Network, lists: _Lists, loss: Loss) -> Tensor:
    scores = model(lists.features, lists.items, lists.users, lists.histories)  # (B, C)
    return slate_losses(loss, scores, lists.labels, lists.present.float())
