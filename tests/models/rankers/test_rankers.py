import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from models.names import FEATURE_SET, FEATURES, NETWORKS, NetworkName
from models.rankers.adapter import Adapted
from models.rankers.checkpoint import (
    SHIPPED,
    CheckpointError,
    MissingFeatureError,
    load_checkpoint,
    read_checkpoint,
    save_checkpoint,
    weights_digest,
    write_tensors,
)
from models.rankers.fit import TrainConfig, fit
from models.rankers.inputs import Inputs
from models.rankers.mlp import MLP, MLPConfig
from models.rankers.network import Network
from models.rankers.networks import RetiredNetworkError, build, new_network
from models.rankers.served import BlendRanker, NetworkRanker, Ranker

F = len(FEATURES)


def a_model(seed: int = 0) -> MLP:
    torch.manual_seed(seed)
    model = MLP(MLPConfig(n_features=F))
    model.standardise(torch.rand(100, F) * torch.arange(1, F + 1) + 3)
    return model


def some_features(n: int, c: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).random((n, c, F), np.float32)


RANKERS: list[Ranker] = [BlendRanker(), NetworkRanker(a_model())]
EVERY_RANKER = pytest.mark.parametrize("ranker", RANKERS, ids=lambda ranker: type(ranker).__name__)


@EVERY_RANKER
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 100), (64, 20), (5, 0)])
def test_a_ranker_gives_each_candidate_a_finite_score(ranker: Ranker, shape: tuple[int, int]):
    scores = ranker.score(Inputs.of_features(some_features(*shape)))
    assert scores.shape == shape
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


@EVERY_RANKER
def test_a_querys_scores_do_not_depend_on_the_queries_beside_it(ranker: Ranker):
    features = some_features(200, 33)
    together = ranker.score(Inputs.of_features(features))
    for size in (1, 2, 3, 7, 50):
        apart = np.concatenate([ranker.score(Inputs.of_features(features[i : i + size])) for i in range(0, 200, size)])
        assert np.array_equal(apart, together)


def test_the_blend_ranker_keeps_the_order_of_the_sources():
    features = some_features(2, 3)
    assert np.array_equal(BlendRanker().score(Inputs.of_features(features)), features[:, :, FEATURES.index("blend")])


def test_the_served_model_is_the_trained_one():
    model, features = a_model(), some_features(4, 9)
    with torch.inference_mode():
        expected = model(torch.from_numpy(features)).numpy()
    assert NetworkRanker(model).score(Inputs.of_features(features)) == pytest.approx(expected, abs=1e-4)


def test_the_model_reads_as_its_formula():
    model, x = a_model(), some_features(1, 1)[0, 0]
    w = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    h = np.maximum(w["input.weight"] @ ((x - w["mean"]) / w["scale"]) + w["input.bias"], 0)
    h = np.maximum(w["middle.weight"] @ h + w["middle.bias"], 0)
    y = w["output.weight"] @ h + w["output.bias"]
    assert float(model(torch.from_numpy(x[None, None])).detach()) == pytest.approx(y.item(), abs=1e-5)


def test_a_feature_that_never_varies_is_only_centred():
    model = MLP(MLPConfig(n_features=2))
    model.standardise(torch.tensor([[5.0, 1.0], [5.0, 3.0]]))
    assert model.mean.tolist() == [5.0, 2.0]
    assert model.scale.tolist() == [1.0, 1.0]


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path):
    model = a_model()
    saved = save_checkpoint(model, tmp_path / "ranker.safetensors", "2026-11")
    loaded = load_checkpoint(tmp_path / "ranker.safetensors")
    assert (loaded.version, loaded.digest) == ("2026-11", saved.digest)
    features = some_features(3, 5)
    assert np.array_equal(
        NetworkRanker(loaded.model).score(Inputs.of_features(features)),
        NetworkRanker(model).score(Inputs.of_features(features)),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["ranker.safetensors"]


def test_other_weights_have_another_digest(tmp_path: Path):
    digests = {save_checkpoint(a_model(seed), tmp_path / "r.safetensors", "v").digest for seed in (0, 0, 1)}
    assert len(digests) == 2


def rewritten(path: Path, weights: dict[str, torch.Tensor] | None = None, **metadata: str) -> Path:
    """Save a checkpoint, then change something in the file."""
    save_checkpoint(a_model(), path, "v")
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        held = file.metadata() | metadata
    save_file(tensors | (weights or {}), path, {name: text for name, text in held.items() if text})
    return path


def test_a_checkpoint_takes_its_features_by_name_whatever_else_is_computed_and_in_whatever_order():
    data = SHIPPED.read_bytes()
    features = some_features(5, 20)
    expected = NetworkRanker(read_checkpoint(data, "it").model).score(Inputs.of_features(features))
    moon = np.full((5, 20, 1), 1e6, np.float32)
    added = read_checkpoint(data, "it", ("moon_phase", *FEATURES))
    inputs = Inputs.of_features(np.concatenate([moon, features], axis=2))
    assert np.array_equal(NetworkRanker(added.model).score(inputs), expected)
    turned = read_checkpoint(data, "it", FEATURES[::-1])
    assert np.array_equal(NetworkRanker(turned.model).score(Inputs.of_features(features[:, :, ::-1])), expected)


def test_a_checkpoint_that_was_served_among_more_columns_is_written_with_its_own_names():
    added = read_checkpoint(SHIPPED.read_bytes(), "it", ("moon_phase", *FEATURES))
    again, as_shipped = (read_checkpoint(data, "it", FEATURES) for data in (added.to_bytes(), SHIPPED.read_bytes()))
    assert (again.digest, again.model.features) == (as_shipped.digest, as_shipped.model.features)
    assert str(again.model.columns) == str(as_shipped.model.columns)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("is_adapted", [False, True])
def test_every_network_looks_at_its_own_columns_alone(kind: NetworkName, is_adapted: bool):
    network = new_network(kind, F, seed=1)
    network.standardise(torch.from_numpy(some_features(3, 50).reshape(-1, F)))
    network = Adapted(network) if is_adapted else network
    features = some_features(4, 9)
    inputs = Inputs(features, *(np.random.default_rng(0).integers(1, 2**60, shape) for shape in ((4, 9), 4, (4, 16))))
    expected = NetworkRanker(network).score(inputs)
    network.take_features(FEATURES, ("moon_phase", *FEATURES))
    wider = replace(inputs, features=np.pad(features, ((0, 0), (0, 0), (1, 0)), constant_values=7))
    assert np.array_equal(NetworkRanker(network).score(wider), expected)


def test_a_checkpoint_that_looks_at_what_is_not_computed_is_refused_by_the_name_of_it():
    with pytest.raises(MissingFeatureError, match="it looks at covisitation, which this release does not compute"):
        read_checkpoint(SHIPPED.read_bytes(), "it", [name for name in FEATURES if name != "covisitation"])


def test_a_checkpoint_that_names_another_number_of_features_than_it_has_weights_for_is_refused(tmp_path: Path):
    path = rewritten(tmp_path / "r.safetensors", features=json.dumps(FEATURES[1:]))
    with pytest.raises(CheckpointError, match=f"its own config.*{F} features, {F - 1} are named"):
        load_checkpoint(path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path):
    path = rewritten(tmp_path / "r.safetensors", {"output.bias": torch.tensor([9.0])})
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_weights_of_another_shape_are_refused(tmp_path: Path):
    path = rewritten(tmp_path / "r.safetensors", {"output.bias": torch.zeros(2)})
    with pytest.raises(CheckpointError, match="its own config"):
        load_checkpoint(path)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path):
    (tmp_path / "r.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="no safetensors file"):
        load_checkpoint(tmp_path / "r.safetensors")
    with pytest.raises(CheckpointError, match="lacks digest"):
        load_checkpoint(rewritten(tmp_path / "r.safetensors", digest=""))


def clicks(n: int, c: int = 12, seed: int = 0) -> tuple[Any, Any, Any]:
    """Make lists where the click goes to the candidate with the largest third feature, of those present."""
    rng = np.random.default_rng(seed)
    features = rng.random((n, c, 5)).astype(np.float32)
    present = np.arange(c) < rng.integers(2, c + 1, n)[:, None]
    label = np.where(present, features[:, :, 2], -1).argmax(axis=1)
    return features, label, present


def test_training_learns_what_the_clicks_follow():
    features, label, present = clicks(1500)
    reports: list[tuple[int, float, float]] = []
    model = fit(
        Inputs.of_features(features), label, present, TrainConfig(max_epochs=30), lambda *told: reports.append(told)
    )

    unseen, truth, here = clicks(300, seed=1)
    with torch.inference_mode():
        scores = np.where(here, model(torch.from_numpy(unseen)).numpy(), -np.inf)
    assert (scores.argmax(axis=1) == truth).mean() > 0.8
    assert [epoch for epoch, _, _ in reports] == list(range(1, len(reports) + 1))
    assert reports[-1][1] < reports[0][1]


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    features, label, present = clicks(60)

    def weights(seed: int) -> Any:
        model = fit(Inputs.of_features(features), label, present, TrainConfig(max_epochs=3, seed=seed))
        return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])

    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = weights(0), weights(0), weights(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_training_stops_when_the_newest_lists_get_no_better():
    features, label, present = clicks(200)
    label[160:] = np.random.default_rng(0).integers(0, 2, 40)
    reports: list[float] = []
    config = TrainConfig(max_epochs=50, patience=2, learning_rate=0.05)
    model = fit(Inputs.of_features(features), label, present, config, lambda _, __, loss: reports.append(loss))

    assert len(reports) < 50
    assert min(reports) == reports[-3]
    with torch.inference_mode():
        scores = model(torch.from_numpy(features[160:])).masked_fill(~torch.from_numpy(present[160:]), -torch.inf)
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(label[160:]))
    assert float(loss) == pytest.approx(min(reports), rel=1e-5)


def test_absent_candidates_say_nothing():
    features, label, present = clicks(60)
    config = TrainConfig(max_epochs=2)
    clean = fit(Inputs.of_features(features), label, present, config).state_dict()
    features[~present] = 1e6
    dirty = fit(Inputs.of_features(features), label, present, config).state_dict()
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)


def test_too_few_lists_or_a_label_without_a_candidate_are_refused():
    features, label, present = clicks(10)
    with pytest.raises(ValueError, match="at least 2 lists"):
        fit(Inputs.of_features(features[:1]), label[:1], present[:1])
    present[3, label[3]] = False
    with pytest.raises(ValueError, match="does not have"):
        fit(Inputs.of_features(features), label, present)


def written_with(model: Network, **metadata: str) -> bytes:
    """A checkpoint whose metadata somebody else has written; its digest is right."""
    known = {
        "version": "v",
        "digest": weights_digest(model),
        "feature_set": FEATURE_SET,
        "features": json.dumps(FEATURES),
        "config": json.dumps(model.described()),
    }
    return write_tensors(model.state_dict(), known | metadata)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_finite_numbers_are_refused(kind: NetworkName, bad: float):
    """Its slates would be in any order; the version before it serves on."""
    model = new_network(kind, F)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = bad
    with pytest.raises(CheckpointError, match="finite"):
        read_checkpoint(written_with(model), "here")


def test_a_scale_that_makes_no_finite_score_is_refused():
    model = new_network("mlp", F)
    model.scale.zero_()
    with pytest.raises(CheckpointError, match="finite"):
        read_checkpoint(written_with(model), "here")


@pytest.mark.parametrize(
    "metadata",
    [
        {"provenance": "no JSON"},
        {"provenance": "[" * 100_000},
        {"features": "[" * 100_000 + "]" * 100_000},
        {"features": "5"},
        {"features": "{}"},
        {"config": "[]"},
        {"config": '{"kind": []}'},
        {"config": '{"kind": "adapted", "base": 3}'},
    ],
)
def test_metadata_of_any_shape_is_refused_in_one_way(metadata: dict[str, str]):
    with pytest.raises(CheckpointError, match="here"):
        read_checkpoint(written_with(new_network("mlp", F), **metadata), "here")


def test_a_network_of_a_kind_that_is_gone_says_what_to_do():
    with pytest.raises(RetiredNetworkError, match="adapt that network again"):
        build({"kind": "adapted", "base": {"kind": "mlp", "n_features": 47}})
