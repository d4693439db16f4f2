"""A trained sequence model as bytes: weights and vocabulary as safetensors, in the same file what they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from models.numeric.arrays import Int64s
from models.rankers.checkpoint import CheckpointError, read_tensors, write_tensors
from models.sequence.config import SequenceConfig
from models.sequence.encoder import SequenceEncoder
from models.sequence.network import SequenceNetwork
from models.sequence.vocabulary import Vocabulary

_KIND = "sequence"
_ITEMS, _ATTRIBUTES = "vocabulary.items", "vocabulary.attributes"


@dataclass(frozen=True, slots=True)
class SequenceCheckpoint:
    """A trained sequence model and its identity."""

    network: SequenceNetwork
    vocabulary: Vocabulary
    version: str
    """What slates and `eddy models` name."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it was trained on, how, and what came of it, in values of JSON."""

    @property
    def digest(self) -> str:
        """SHA-256 of weights and vocabulary."""
        return _digest(_tensors(self.network, self.vocabulary))

    @property
    def learned_until(self) -> int:
        """Return when the newest act that it has learned happened, Unix ms; 0 where nobody has said."""
        return int(self.provenance.get("learned_until", 0))

    @property
    def positions(self) -> dict[str, int]:
        """Return until which offset of each partition of events it has learned on the stream, by their numbers."""
        return {partition: int(offset) for partition, offset in self.provenance.get("positions", {}).items()}

    @property
    def ndcg(self) -> float:
        """NDCG@10 on acts that it had not learned, among all items; 0 where nobody has said."""
        return float(self.provenance.get("validation", {}).get("ndcg@10", 0))

    @property
    def n_judged(self) -> int:
        """Acts by which that was found."""
        return int(self.provenance.get("validation", {}).get("n", 0))

    @property
    def evidence(self) -> dict[str, float]:
        """Return why it is better than the one before it, where it learned on the stream; else nothing."""
        return {name: float(value) for name, value in self.provenance.get("online", {}).items()}

    def encoder(self) -> SequenceEncoder:
        """Return the model as it serves."""
        return SequenceEncoder(self.network, self.vocabulary, self.version, self.learned_until)

    def to_bytes(self) -> bytes:
        """Write as one safetensors file."""
        tensors = _tensors(self.network, self.vocabulary)
        metadata = {
            "kind": _KIND,
            "version": self.version,
            "digest": _digest(tensors),
            "config": json.dumps(asdict(self.network.config)),
            "provenance": json.dumps(self.provenance),
        }
        return write_tensors(tensors, metadata)

    def save(self, path: Path) -> None:
        """Write to a file; an existing one is replaced in one step."""
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(self.to_bytes())
        partial.replace(path)


def named(
    network: SequenceNetwork, vocabulary: Vocabulary, data_set: str, provenance: Mapping[str, Any]
) -> SequenceCheckpoint:
    """Name a model by what it was trained on and by its weights."""
    version = f"{data_set}-{_digest(_tensors(network, vocabulary))[:8]}"
    return SequenceCheckpoint(network, vocabulary, version, provenance)


def read_sequence_checkpoint(data: bytes, where: str) -> SequenceCheckpoint:
    """Read a sequence model.

    Parameters
    ----------
    where : what the bytes are from, for what an error says.

    Raises
    ------
    CheckpointError
        Where the bytes are none, its weights are not those that were written, or are no finite numbers.
    """
    metadata, tensors = read_tensors(data, where)
    if metadata.get("kind") != _KIND:
        raise CheckpointError(f"{where} is no sequence model: eddy train --model sequence makes one")
    try:
        config = msgspec.convert(json.loads(metadata["config"]), SequenceConfig)
        provenance = msgspec.json.decode(metadata["provenance"], type=dict[str, Any])
        version, digest = metadata["version"], metadata["digest"]
        written = _digest(tensors)
        items, attributes = (_hashes(tensors.pop(name)) for name in (_ITEMS, _ATTRIBUTES))
        with torch.device("meta"):  # which takes no memory: a file may say anything of its size
            network = SequenceNetwork(config, len(items), len(attributes))
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)
    except (RuntimeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{where} does not hold the weights of its own config: {error}") from error
    if written != digest:
        raise CheckpointError(f"{where} is damaged: its weights have another digest than when it was written")
    vocabulary = Vocabulary(items, attributes.astype(np.uint32))
    if not vocabulary.is_sorted:
        raise CheckpointError(f"{where} has a vocabulary that is out of order")
    checkpoint = SequenceCheckpoint(network.eval(), vocabulary, version, provenance)
    _try_out(checkpoint, where)
    return checkpoint


def _hashes(tensor: Tensor) -> Int64s:
    if tensor.ndim != 1 or tensor.dtype != torch.int64:
        raise ValueError(f"its vocabulary is {tensor.dtype} in {tensor.ndim} dimensions, not int64 in one")
    hashes: Int64s = tensor.numpy()
    return hashes


def _try_out(checkpoint: SequenceCheckpoint, where: str) -> None:
    """Read two acts of nothing, so that what cannot be asked is refused here and not amid the first slate."""
    if not all(bool(tensor.isfinite().all()) for tensor in checkpoint.network.state_dict().values()):
        raise CheckpointError(f"{where} has weights that are no finite numbers")
    try:
        encoder = checkpoint.encoder()
        acts = np.zeros((1, min(2, encoder.n_recent), encoder.n_dimensions), np.float32)
        user = encoder.user_vectors(acts, np.zeros(acts.shape[:2], np.int64), np.array([acts.shape[1]]))
        _ = checkpoint.ndcg, checkpoint.n_judged, checkpoint.evidence, checkpoint.positions
    except (RuntimeError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{where} cannot be asked: {error}") from error
    if not np.isfinite(user).all():
        raise CheckpointError(f"{where} does not read acts as finite numbers")


def load_sequence_checkpoint(path: Path) -> SequenceCheckpoint:
    """Read a sequence model from a file; see `read_sequence_checkpoint`."""
    return read_sequence_checkpoint(path.read_bytes(), str(path))


def _tensors(network: SequenceNetwork, vocabulary: Vocabulary) -> dict[str, Tensor]:
    return {
        **network.state_dict(),
        _ITEMS: torch.from_numpy(vocabulary.items),
        _ATTRIBUTES: torch.from_numpy(vocabulary.attributes.astype(np.int64)),
    }


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
