"""An inverted file over learned vectors: a few lists are gone through for a query, and not all items.

The vectors are clustered by Lloyd's k-means; each list holds those nearest to its centre as bytes, dimension by
dimension, so that one instruction multiplies a dimension of many items.

References
----------
J. Sivic, A. Zisserman. Video Google: a text retrieval approach to object matching in videos. ICCV 2003.
H. Jégou, M. Douze, C. Schmid. Product quantization for nearest neighbor search. IEEE TPAMI 2011.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.numeric.arrays import Floats, Int8s, Int32s, Int64s

LISTS_PER_ROOT = 2.0
"""Lists for each square root of the items: about as many centres as vectors are looked at for a query."""
_LEARNED_FROM = 64
"""Vectors for each list that the centres are learned from, at most."""
_N_ROUNDS = 8
_AT_ONCE = 8_192
_UNIT = 127.0


class InvertedFile(NamedTuple):
    """The N items that have a vector, in L lists."""

    centers: Floats
    """(L, D)"""
    starts: Int64s
    """(L + 1,) list l has the places [starts[l], starts[l + 1])."""
    rows: Int32s
    """(N,) rows of the item table."""
    scales: Floats
    """(N,) what the bytes of a vector are times."""
    blocks: Int8s
    """(N D,) the vectors of each list, of which a dimension's numbers lie side by side."""


def invert(vectors: Floats, seed: int = 0) -> InvertedFile:
    """Sort (M, D) vectors into lists; those of zeros are left out. The same for the same vectors."""
    rows = np.flatnonzero(vectors.any(axis=1)).astype(np.int32)
    if not len(rows):
        return InvertedFile(vectors[:0], np.zeros(1, np.int64), rows, np.zeros(0, np.float32), np.zeros(0, np.int8))
    held = torch.from_numpy(vectors[rows])
    centers = _centers(held, max(1, round(LISTS_PER_ROOT * len(rows) ** 0.5)), seed)
    lists = _nearest(held, centers)
    order = torch.argsort(lists, stable=True)
    starts = np.searchsorted(lists[order].numpy(), np.arange(len(centers) + 1)).astype(np.int64)
    scales = held.abs().amax(dim=1, keepdim=True) / _UNIT
    packed = (held / scales).round().to(torch.int8)[order].numpy()
    blocks = [packed[start:end].T.ravel() for start, end in pairwise(starts.tolist())]
    in_lists = order.numpy()
    return InvertedFile(
        centers.numpy(), starts, rows[in_lists], scales.numpy()[in_lists, 0].copy(), np.concatenate(blocks)
    )


def _centers(vectors: Tensor, n: int, seed: int) -> Tensor:
    """Learn n centres from a sample; one that nothing is nearest to begins again at some vector."""
    generator = torch.Generator().manual_seed(seed)
    sample = vectors[torch.randperm(len(vectors), generator=generator)[: n * _LEARNED_FROM]]
    centers = sample[:n].clone()
    for _ in range(_N_ROUNDS):
        nearest = _nearest(sample, centers)
        counts = torch.bincount(nearest, minlength=n)[:, None]
        sums = torch.zeros_like(centers).index_add_(0, nearest, sample)
        anew = sample[torch.randint(len(sample), (n,), generator=generator)]
        centers = torch.where(counts > 0, sums / counts.clamp(min=1), anew)
    return centers


def _nearest(vectors: Tensor, centers: Tensor) -> Tensor:
    """Name the nearest centre of each vector: |v - c|^2 is least where v . c - |c|^2 / 2 is largest."""
    halves = centers.square().sum(dim=1) / 2
    parts = (vectors[first : first + _AT_ONCE] for first in range(0, len(vectors), _AT_ONCE))
    return torch.cat([(some @ centers.T - halves).argmax(dim=1) for some in parts])
