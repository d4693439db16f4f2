"""Every kind of network and loss, trained on a past, and gone on from."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
import torch

from models.names import NETWORKS, Loss
from models.offline.train import Training, TrainingConfig, train
from models.offline.walk import WalkConfig
from models.rankers.adapter import Adapted
from models.rankers.checkpoint import load_checkpoint, weights_digest
from models.rankers.fit import TrainConfig
from models.strategy import Strategy
from tests.models.offline.builders import a_catalog, random_past

CONFIG = TrainConfig(max_epochs=2)


def trained(path: Path, fit: TrainConfig, start: Path | None = None, seed: int = 0) -> Training:
    strategy = Strategy(sources={"trending": 1.0}, allow_seen=True)
    config = TrainingConfig(WalkConfig((strategy,), publish_every=32), fit, least_examples=2)
    first = load_checkpoint(start) if start else None
    return train(random_past(120, seed=seed), a_catalog(), "made-up", path, config, start=first)


@pytest.mark.parametrize(("kind", "loss"), list(product(NETWORKS, get_args(Loss))))
def test_a_checkpoint_of_any_kind_comes_back_with_its_loss(kind: str, loss: Loss, tmp_path: Path):
    training = trained(tmp_path / "r", replace(CONFIG, kind=kind, loss=loss))
    loaded = load_checkpoint(tmp_path / "r")
    assert (loaded.kind, loaded.loss, loaded.digest) == (kind, loss, training.checkpoint.digest)
    [verdict] = training.verdicts
    assert verdict.n_losses > 0
    assert verdict.loss > 0
    assert loaded.provenance["verdicts"][0]["test_loss"] == round(verdict.loss, 4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_trained_network_is_gone_on_from(kind: str, tmp_path: Path):
    first = trained(tmp_path / "first", replace(CONFIG, kind=kind)).checkpoint
    second = trained(tmp_path / "second", replace(CONFIG, kind=kind), tmp_path / "first", seed=1).checkpoint
    assert second.kind == kind
    assert second.digest != first.digest
    assert second.provenance["started_from"] == first.version


def test_a_network_of_another_kind_is_not_trained_in_its_place(tmp_path: Path):
    trained(tmp_path / "first", CONFIG)
    with pytest.raises(ValueError, match="'mlp', not 'gru'"):
        trained(tmp_path / "second", replace(CONFIG, kind="gru"), tmp_path / "first")


def test_an_adapter_changes_nothing_of_the_network_beneath(tmp_path: Path):
    first = trained(tmp_path / "first", CONFIG).checkpoint
    trained(tmp_path / "second", replace(CONFIG, fine_tune="adapter"), tmp_path / "first", seed=1)
    loaded = load_checkpoint(tmp_path / "second")
    assert (loaded.kind, loaded.model.described()["kind"]) == ("mlp", "low_rank")
    assert isinstance(loaded.model, Adapted)
    assert weights_digest(loaded.model.frozen()) == first.digest
    assert any(torch.any(weight != 0) for name, weight in loaded.model.named_parameters() if name.endswith(".up"))
    third = trained(tmp_path / "third", replace(CONFIG, fine_tune="adapter"), tmp_path / "second", seed=2).checkpoint
    assert isinstance(third.model, Adapted)
    assert weights_digest(third.model.frozen()) == first.digest
