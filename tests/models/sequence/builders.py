"""Sequence models that nobody has trained."""

from collections.abc import Sequence

import torch

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.messages import Item
from models.numeric.ids import hash_all
from models.sequence.checkpoint import SequenceCheckpoint, named
from models.sequence.config import SequenceConfig
from models.sequence.network import SequenceNetwork
from models.sequence.vocabulary import Vocabulary

ITEMS = [Item(f"i-{n}", categories=[f"c{n % 3}"]) for n in range(20)]
LEARNED_UNTIL = 1_700_000_000_000


def a_sequence_model(seed: int = 1, items: Sequence[Item] = ITEMS, n_dimensions: int = 8) -> SequenceCheckpoint:
    """Make a model with drawn weights."""
    table = ItemSide(items, 0, ItemSideConfig(), EventConfig(), ProfileConfig()).table
    vocabulary = Vocabulary.of(hash_all([item.item_id for item in items]), table)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SequenceNetwork(
            SequenceConfig(n_dimensions=n_dimensions), len(vocabulary.items), len(vocabulary.attributes)
        )
        with torch.no_grad():
            network.items.weight[1:] = torch.randn(len(vocabulary.items), n_dimensions)
    validation = {"n": 411, "from": "2023-11-14", "ndcg@10": 0.039}
    return named(network, vocabulary, f"drawn-{seed}", {"learned_until": LEARNED_UNTIL, "validation": validation})
