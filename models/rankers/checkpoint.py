"""A trained ranker as bytes: weights as safetensors, in the same file what they are. Never pickle."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from models.names import FEATURE_SET, FEATURES, FunnelName, Loss, NetworkName
from models.rankers.network import Network
from models.rankers.networks import RetiredNetworkError, build

SHIPPED = Path(__file__).with_name("checkpoints") / "default.safetensors"
"""The checkpoint that comes with this release; `models/README.md` says what it was trained on."""


class CheckpointError(ValueError):
    """The bytes are no checkpoint, or not one that can be served here."""


class MissingFeatureError(CheckpointError):
    """A network looks at a feature that is not computed; the text names it."""


class RetiredError(CheckpointError):
    """The network is of a kind that there is no more."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model and its identity."""

    model: Network
    version: str
    """What the slates name."""
    digest: str
    """SHA-256 of the weights."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on, how, and what came of it, in values of JSON."""
    loss: Loss = "softmax"
    """What its scores were trained by, and would be further."""

    @property
    def kind(self) -> NetworkName | FunnelName:
        """The network's kind; of an adapted one, the kind that was adapted."""
        described = self.model.described()
        kind: NetworkName | FunnelName = described.get("base", described)["kind"]
        return kind

    def to_bytes(self) -> bytes:
        """Write as one safetensors file."""
        metadata = {
            "version": self.version,
            "digest": self.digest,
            "feature_set": FEATURE_SET,
            "features": json.dumps(self.model.features or FEATURES),
            "config": json.dumps(self.model.described()),
            "provenance": json.dumps(self.provenance),
            "loss": self.loss,
        }
        return write_tensors(self.model.state_dict(), metadata)


def read_checkpoint(data: bytes, where: str, columns: Sequence[str] = FEATURES) -> Checkpoint:
    """Read a model for serving: it takes its features out of the columns by their names, whatever else there is.

    Parameters
    ----------
    where : what the bytes are from, for what an error says.
    columns : names of the features that are computed, in their order.

    Raises
    ------
    CheckpointError
        Where the bytes are no checkpoint, or its weights are not those that were written.
    MissingFeatureError
        Where it looks at a feature that is not computed.
    """
    metadata, weights = read_tensors(data, where)
    missing = {"version", "digest", "features", "config"} - metadata.keys()
    if missing:
        raise CheckpointError(f"{where} is no ranker checkpoint: it lacks {', '.join(sorted(missing))}")
    try:
        features, config = json.loads(metadata["features"]), json.loads(metadata["config"])
        loss = msgspec.convert(metadata.get("loss", "softmax"), Loss)
        model = build(config)
        model.load_state_dict(weights)
        find_features(model, features, where, columns)
        provenance = msgspec.json.decode(metadata.get("provenance", "{}"), type=dict[str, Any])
    except MissingFeatureError:
        raise
    except RetiredNetworkError as error:
        raise RetiredError(f"{where}: {error}") from error
    # RecursionError is a RuntimeError; an index is one of a network's layers or columns.
    except (RuntimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{where} does not hold the weights of its own config: {error}") from error
    if weights_digest(model) != metadata["digest"]:
        raise CheckpointError(f"{where} is damaged: its weights have another digest than when it was written")
    _try_out(model, where, len(columns))
    return Checkpoint(model.eval(), metadata["version"], metadata["digest"], provenance, loss)


def _try_out(model: Network, where: str, n_columns: int) -> None:
    """Score a slate's worth of nothing, so that what cannot score is refused here and not amid the first slate."""
    if not all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()):
        raise CheckpointError(f"{where} has weights that are no finite numbers")
    try:
        with torch.inference_mode():
            scores = model.eval()(torch.zeros(1, 2, n_columns))
    except (RuntimeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{where} cannot score {n_columns} features: {error}") from error
    if scores.shape != (1, 2) or not bool(scores.isfinite().all()):
        raise CheckpointError(f"{where} does not score each candidate by a finite number")


def find_features(model: Network, names: Sequence[str], where: str, columns: Sequence[str] = FEATURES) -> None:
    """Let a network find its features, by their names, among the columns that are computed.

    Raises
    ------
    MissingFeatureError
        Where one is not computed.
    """
    if missing := [name for name in names if name not in columns]:
        raise MissingFeatureError(
            f"{where} looks at {', '.join(missing)}, which this release does not compute: train it again, or run the "
            "release that it was trained for"
        )
    model.take_features(names, columns)


def read_tensors(data: bytes, where: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Read a safetensors file's metadata and tensors.

    Raises
    ------
    CheckpointError
        Where it is none.
    """
    try:
        tensors = load(data)
        n_header = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + n_header]).get("__metadata__", {})
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is no safetensors file: {error}") from error
    return metadata, tensors


def write_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Write a safetensors file: the same bytes for the same content, where the library takes metadata in any order."""
    data = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, dict(metadata))
    n_header = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_header])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a whole word
    return len(text).to_bytes(8, "little") + text + data[8 + n_header :]


def save_checkpoint(
    model: Network,
    path: Path,
    version: str,
    provenance: Mapping[str, Any] | None = None,
    loss: Loss = "softmax",
) -> Checkpoint:
    """Write a model and say what was written; an existing file is replaced in one step."""
    checkpoint = Checkpoint(model, version, weights_digest(model), provenance or {}, loss)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(checkpoint.to_bytes())
    partial.replace(path)
    return checkpoint


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a model for serving from a file; see `read_checkpoint`."""
    return read_checkpoint(path.read_bytes(), str(path))


def weights_digest(model: Network) -> str:
    """Digest a model's weights: SHA-256 over their names and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().float().numpy().tobytes())
    return digest.hexdigest()
