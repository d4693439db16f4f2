"""Self-attention over what a user did last: which item comes next, among all items.

An item's vector is the sum of one of its own, of its attributes' and of its text, projected; so an item that nobody
has met has a vector from the moment the catalog names it. The same vectors are read and compared with what was read:

    v_j = e_j + sum_{a in j} k_a / sqrt(n_j) + P c_j              item j, n_j attributes a, content c_j
    h   = LayerNorm(Block(sqrt(D) v_{i_1}, ..., sqrt(D) v_{i_t})) acts i_1 .. i_t, the newest i_t
    s_j = h . v_j                                                 the logit of j to be next

Attention sees how many acts two positions lie apart, and how long: a learned number for each distance and for each
power of two of seconds is added to its logits. So it means the same wherever a window was cut.

References
----------
W.-C. Kang, J. McAuley. Self-attentive sequential recommendation. ICDM 2018. The biases by distance and by time follow
J. Zhai et al. Actions speak louder than words: trillion-parameter sequential transducers. ICML 2024.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.items.columns import N_DIMENSIONS
from models.items.vectors import UNIT
from models.numeric.arrays import Int64s
from models.sequence.config import SequenceConfig

N_GAPS = 32
"""Buckets of time between two acts: 0 below a second, then a power of two of seconds each."""


class SequenceNetwork(nn.Module):
    """Reads acts and scores items.

    Parameters
    ----------
    n_items, n_attributes : of the vocabulary.
    """

    def __init__(self, config: SequenceConfig, n_items: int, n_attributes: int) -> None:
        super().__init__()
        self.config = config
        self.items = nn.Embedding(n_items + 1, config.n_dimensions)
        self.attributes = nn.Embedding(n_attributes + 1, config.n_dimensions)
        self.content = nn.Linear(N_DIMENSIONS, config.n_dimensions, bias=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_blocks))
        self.norm = nn.LayerNorm(config.n_dimensions)
        self.dropout = nn.Dropout(config.dropout)
        for weight in (self.items.weight, self.attributes.weight, self.content.weight):
            nn.init.normal_(weight, std=0.02)
        with torch.no_grad():
            self.items.weight[0] = self.attributes.weight[0] = 0

    def take_over(self, other: "SequenceNetwork", items: Int64s, attributes: Int64s) -> None:
        """Begin with the weights of another network of this shape.

        Parameters
        ----------
        items, attributes : the numbers here of all that the other one knows, in its order.
        """
        weights = other.state_dict()
        with torch.no_grad():
            for table, numbers in (("items", items), ("attributes", attributes)):
                own = self.state_dict()[f"{table}.weight"].clone()
                own[torch.from_numpy(numbers)] = weights[f"{table}.weight"][1:]
                weights[f"{table}.weight"] = own
        self.load_state_dict(weights)

    def item_vectors(self, numbers: Tensor, attributes: Tensor, contents: Tensor) -> Tensor:
        """Make the vectors of M items: (M, D).

        Parameters
        ----------
        numbers : (M,) 0 unknown.
        attributes : (M, 8) numbers, 0 none.
        contents : (M, 64) int8.
        """
        own = self.items(numbers) * (numbers > 0)[:, None]
        here = (attributes > 0).to(own.dtype)
        shares = here / here.sum(dim=1, keepdim=True).clamp(min=1).sqrt()  # (M, 8)
        described = functional.embedding_bag(attributes, self.attributes.weight, mode="sum", per_sample_weights=shares)
        text: Tensor = self.content(contents.to(own.dtype) / UNIT)
        vectors: Tensor = own + described + text
        return vectors

    def forward(self, vectors: Tensor, at: Tensor) -> Tensor:
        """Read (W, T, D) vectors of acts at (W, T) Unix ms, oldest first: what is known after each, (W, T, D).

        What stands behind an act never changes what is known after it, so padding may stand there.
        """
        gaps, x = _gaps(at, at), self._begun(vectors)
        for block in self.blocks:
            x = block(x, gaps)
        read: Tensor = self.norm(x)
        return read

    def newest(self, vectors: Tensor, at: Tensor, lengths: Tensor) -> Tensor:
        """Read as `forward` does, for what is known after the newest of (W,) acts alone: (W, D).

        The last block is only asked at that place: with one block and 32 acts that takes a third of the time.
        """
        *earlier, last = cast("list[Block]", list(self.blocks))
        x = self._begun(vectors)
        for block in earlier:
            x = block(x, _gaps(at, at))
        users, newest = torch.arange(len(at)), lengths - 1
        read: Tensor = self.norm(last.at(x, users, newest, _gaps(at[users, newest][:, None], at)[:, 0]))
        return read

    def _begun(self, vectors: Tensor) -> Tensor:
        begun: Tensor = self.dropout(vectors * math.sqrt(self.config.n_dimensions))
        return begun


def _gaps(later: Tensor, earlier: Tensor) -> Tensor:
    """Put the times between (W, S) and (W, T) acts into buckets: (W, S, T)."""
    return ((later[:, :, None] - earlier[:, None, :]).clamp(min=0) / 1_000 + 1).log2().long().clamp(max=N_GAPS - 1)


class Block(nn.Module):
    """One layer: attention to what came before, then a perceptron, each added to what came in."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        d = config.n_dimensions
        self.n_heads = config.n_heads
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.read = nn.Linear(d, 3 * d)
        self.write = nn.Linear(d, d)
        self.by_distance = nn.Parameter(torch.zeros(config.n_heads, config.n_recent))
        self.by_gap = nn.Parameter(torch.zeros(config.n_heads, N_GAPS))
        self.wide, self.narrow = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, gaps: Tensor) -> Tensor:
        """Turn (W, T, D) into (W, T, D), with (W, T, T) buckets of time between acts."""
        n, length, d = x.shape
        read = self.read(self.attention_norm(x))
        queries, keys, values = read.view(n, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        steps = torch.arange(length, device=x.device)
        bias = self._bias((steps[:, None] - steps)[None], gaps)
        return self._after(x, self._attended(queries, keys, values, bias).reshape(n, length, d))

    def at(self, x: Tensor, users: Tensor, places: Tensor, gaps: Tensor) -> Tensor:
        """Turn (W, T, D) into (W, D), as `forward` does at one of the places of each user.

        Parameters
        ----------
        users : (W,) 0 to W - 1.
        places : (W,)
        gaps : (W, T) buckets of time between these and the others.
        """
        n, length, d = x.shape
        normed = self.attention_norm(x)
        asked = functional.linear(normed[users, places], self.read.weight[:d], self.read.bias[:d])
        told = functional.linear(normed, self.read.weight[d:], self.read.bias[d:])
        keys, values = told.view(n, length, 2, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        distance = places[:, None] - torch.arange(length, device=x.device)  # (W, T)
        bias = self._bias(distance[:, None], gaps[:, None])
        attended = self._attended(asked.view(n, self.n_heads, 1, -1), keys, values, bias)
        return self._after(x[users, places], attended.reshape(n, d))

    def _bias(self, distance: Tensor, gaps: Tensor) -> Tensor:
        """Say how much acts count by what lies between them, (W or 1, S, T) steps and (W, S, T) buckets of time.

        Returns
        -------
        (W, heads, S, T); those that come later do not count.
        """
        bias = (self.by_distance[:, distance.clamp(min=0)] + self.by_gap[:, gaps]).transpose(0, 1)
        return bias.masked_fill((distance < 0)[:, None], -torch.inf)

    def _attended(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """Let (W, heads, S, D / heads) read (W, heads, T, D / heads): (W, S, heads, D / heads)."""
        dropout = self.dropout.p if self.training else 0.0
        return functional.scaled_dot_product_attention(queries, keys, values, bias, dropout).transpose(1, 2)

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.write(attended))
        hidden = self.dropout(functional.gelu(self.wide(self.perceptron_norm(x))))
        after: Tensor = x + self.dropout(self.narrow(hidden))
        return after
