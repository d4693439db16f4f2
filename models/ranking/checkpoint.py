"""A trained ranker on disk: weights as safetensors, in the same file what they are. Never pickle."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from models.ranking.features import FEATURE_SET, FEATURES
from models.ranking.mlp import MLP, MLPConfig

SHIPPED = Path(__file__).with_name("checkpoints") / "default.safetensors"
"""The checkpoint that comes with this release; `models/README.md` says what it was trained on."""


class CheckpointError(ValueError):
    """The file is no checkpoint, or not one for these features."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model and its identity."""

    model: MLP
    version: str
    """What the slates name."""
    digest: str
    """SHA-256 of the weights."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on, how, and what came of it, in values of JSON."""


def save_checkpoint(model: MLP, path: Path, version: str, provenance: Mapping[str, Any] | None = None) -> Checkpoint:
    """Write a model and say what was written; an existing file is replaced in one step."""
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    checkpoint = Checkpoint(model, version, weights_digest(model), provenance or {})
    metadata = {
        "version": version,
        "digest": checkpoint.digest,
        "feature_set": FEATURE_SET,
        "features": json.dumps(FEATURES),
        "config": json.dumps(asdict(model.config)),
        "provenance": json.dumps(checkpoint.provenance),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(save(weights, metadata))
    partial.replace(path)
    return checkpoint


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a model for serving.

    Raises
    ------
    CheckpointError
        Where the file is no checkpoint, its weights are not those that were written, or its features are not
        those of this release; the message names the ones that differ.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise CheckpointError(f"{path} is no safetensors file: {error}") from error
    missing = {"version", "digest", "feature_set", "features", "config"} - metadata.keys()
    if missing:
        raise CheckpointError(f"{path} is no ranker checkpoint: it lacks {', '.join(sorted(missing))}")
    _require_features(path, metadata["feature_set"], json.loads(metadata["features"]))
    config = json.loads(metadata["config"])
    model = MLP(MLPConfig(config["n_features"], tuple(config["hidden"])))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not hold the weights of its own config: {error}") from error
    if weights_digest(model) != metadata["digest"]:
        raise CheckpointError(f"{path} is damaged: its weights have another digest than when it was written")
    return Checkpoint(
        model.eval(), metadata["version"], metadata["digest"], json.loads(metadata.get("provenance", "{}"))
    )


def _require_features(path: Path, feature_set: str, features: list[str]) -> None:
    if features == list(FEATURES) and feature_set == FEATURE_SET:
        return
    only_there = [name for name in features if name not in FEATURES]
    only_here = [name for name in FEATURES if name not in features]
    if only_there or only_here:
        difference = f"it has {only_there or 'nothing'} that is unknown here and lacks {only_here or 'nothing'}"
    else:
        moved = [name for name, own in zip(features, FEATURES, strict=True) if name != own]
        difference = f"the order differs at {moved}" if moved else "the names are the same, their meaning is not"
    raise CheckpointError(
        f"{path} was trained on feature set {feature_set!r}, this release has {FEATURE_SET!r}: {difference}. "
        "Train it again, or run the release that it was trained for."
    )


def weights_digest(model: MLP) -> str:
    """Digest a model's weights: SHA-256 over their names and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.to(torch.float32).numpy().tobytes())
    return digest.hexdigest()
