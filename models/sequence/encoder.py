"""A trained sequence model as it serves: items and users to vectors, on the processor, without a gradient."""

import numpy as np
import torch

from models.items.columns import Columns
from models.numeric.arrays import Floats, Int32s, Int64s
from models.sequence.network import SequenceNetwork
from models.sequence.vocabulary import Vocabulary

_AT_ONCE = 16_384
"""Items whose vectors are made at once."""


class SequenceEncoder:
    """Implements `models.items.learned.Encoder`.

    Parameters
    ----------
    version : which model it is.
    learned_until : the newest act that it has learned, Unix ms; 0 where nobody has said.
    """

    def __init__(self, network: SequenceNetwork, vocabulary: Vocabulary, version: str, learned_until: int = 0) -> None:
        self._network = network.eval()
        self._vocabulary = vocabulary
        self.version = version
        self.learned_until = learned_until
        self.n_dimensions: int = network.config.n_dimensions
        self.n_recent: int = network.config.n_recent

    def item_vectors(self, rows: Int32s, table: Columns) -> Floats:
        """Make the vectors of (M,) rows: (M, D)."""
        vectors = np.zeros((len(rows), self.n_dimensions), np.float32)
        for first in range(0, len(rows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            facts = self._vocabulary.facts_of_rows(rows[part], table)
            with torch.inference_mode():
                vectors[part] = self._network.item_vectors(*map(torch.from_numpy, facts)).numpy()
        return vectors

    def logits(self, users: Floats, vectors: Floats) -> Floats:
        """Multiply (A, D) users by (N, D) items: (A, N).

        By PyTorch, which keeps to the threads that it is given: NumPy's would wait for each other on a busy machine.
        """
        products: Floats = torch.mm(torch.from_numpy(users), torch.from_numpy(vectors).T).numpy()
        return products

    def user_vectors(self, acts: Floats, at: Int64s, lengths: Int64s) -> Floats:
        """Read what each of B users did: (B, D)."""
        with torch.inference_mode():
            newest: Floats = self._network.newest(*map(torch.from_numpy, (acts, at, lengths))).numpy()
        return newest
