"""Every network by its name: built new, or from what a checkpoint says."""

from collections.abc import Mapping
from typing import Any

import torch

from models.names import FunnelName, NetworkName
from models.rankers.adapter import Adapted
from models.rankers.funnel import Funnel, FunnelConfig
from models.rankers.gru import GRU, GRUConfig
from models.rankers.linear import Linear
from models.rankers.mlp import MLP, MLPConfig
from models.rankers.network import Network, NetworkConfig, tuples
from models.rankers.neumf import NeuMF, NeuMFConfig

KINDS: dict[NetworkName | FunnelName, tuple[type[Any], type[NetworkConfig]]] = {
    "linear": (Linear, NetworkConfig),
    "mlp": (MLP, MLPConfig),
    "neumf": (NeuMF, NeuMFConfig),
    "gru": (GRU, GRUConfig),
    "funnel": (Funnel, FunnelConfig),
}


RETIRED = {"adapted": "one weight a feature beside a frozen network: adapt that network again"}
"""Kinds of earlier releases, and what to do instead."""


class RetiredNetworkError(ValueError):
    """A network is of a kind that there is no more; the text says what to do."""


def build(description: Mapping[str, Any]) -> Network:
    """Build a network from its description (`Network.described`), with weights yet to be loaded.

    Raises
    ------
    RetiredNetworkError
        Where there are no networks of that kind any more.
    ValueError
        Where no network is of that kind or shape.
    """
    rest = dict(description)
    kind = rest.pop("kind", "mlp")  # checkpoints of the first release do not name their kind
    if kind == Adapted.kind:
        return Adapted(build(rest["base"]), int(rest["rank"]))
    if kind in RETIRED:
        raise RetiredNetworkError(f"networks of the kind {kind!r} are not read any more, {RETIRED[kind]}")
    if kind not in KINDS:
        raise ValueError(f"no network is called {kind!r}; there are {', '.join(KINDS)}")
    network, config = KINDS[kind]
    try:
        built: Network = network(config(**tuples(rest)))
    except TypeError as error:
        raise ValueError(f"a {kind} network has no such shape: {error}") from error
    return built


def new_network(kind: str, n_features: int, seed: int = 0, **shape: Any) -> Network:
    """Build a network whose first weights follow from the seed alone; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build({"kind": kind, "n_features": n_features} | shape)
