"""Training a ranker: listwise softmax over each slate's candidates, stopped on the newest fifth."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.arrays import Bools, Floats, Int64s
from models.ranking.mlp import MLP, MLPConfig


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train."""

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


def fit(
    features: Floats,
    label_index: Int64s,
    present: Bools,
    config: TrainConfig | None = None,
    report: Callable[[int, float, float], None] | None = None,
) -> MLP:
    """Train an MLP to put the clicked candidate first.

    The loss of one list is -log softmax(scores)[label] over its candidates (ListNet's top-one probability
    with a single relevant item; Cao et al. 2007).

    Parameters
    ----------
    features
        (N, C, F), the oldest list first: the newest fifth decides when to stop, so no list is judged by its
        past.
    label_index
        (N,) which of the candidates was clicked.
    present
        (N, C) False where a list has no candidate.
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
        With fewer than 2 lists, or a label that is not among its list's candidates.
    """
    config = config or TrainConfig()
    n = len(features)
    if n < 2:
        raise ValueError(f"training needs at least 2 lists, one of them to validate on; got {n}")
    if not present[range(n), label_index].all():
        raise ValueError("a label points to a candidate that its list does not have")
    n_valid = min(max(1, round(n * config.valid_share)), n - 1) if config.valid_share else 0
    x, y, here = torch.from_numpy(features), torch.from_numpy(label_index).long(), torch.from_numpy(present)
    train, valid = slice(0, n - n_valid), slice(n - n_valid, n)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = MLP(MLPConfig(n_features=features.shape[2]))
        model.standardise(x[train][here[train]])
        optimizer = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        n_steps = config.max_epochs * -(-(n - n_valid) // config.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, n_steps)
        best, best_loss, waited = copy.deepcopy(model), float("inf"), 0
        for epoch in range(1, config.max_epochs + 1):
            train_loss = _train_epoch(model, schedule, (x[train], y[train], here[train]), config.batch_size)
            with torch.inference_mode():
                valid_loss = float(_loss(model, x[valid], y[valid], here[valid])) if n_valid else 0.0
            if report is not None:
                report(epoch, train_loss, valid_loss)
            if not n_valid or valid_loss < best_loss:
                best, best_loss, waited = copy.deepcopy(model), valid_loss, 0
            else:
                waited += 1
            if waited >= config.patience:
                break
    return best.eval()


def _train_epoch(
    model: MLP, schedule: torch.optim.lr_scheduler.OneCycleLR, lists: tuple[Tensor, Tensor, Tensor], batch_size: int
) -> float:
    """Go once over the lists in random order; return the mean loss."""
    x, y, here = lists
    total = 0.0
    optimizer = schedule.optimizer
    for chosen in torch.split(torch.randperm(len(x)), batch_size):
        loss = _loss(model, x[chosen], y[chosen], here[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(x)


def _loss(model: MLP, x: Tensor, y: Tensor, here: Tensor) -> Tensor:
    """Mean over (B, C, F) lists of the cross-entropy against (B,) labels; absent candidates take no part."""
    scores = model(x).masked_fill(~here, float("-inf"))  # (B, C)
    return functional.cross_entropy(scores, y)
