"""Stable 64-bit hashes of ids: what state, rows and snapshots hold in place of strings."""

import numpy as np
import xxhash
from numpy.typing import NDArray


def hash64(text: str) -> int:
    """Hash an id to a positive 63-bit integer, the same in every process and release.

    xxHash3 (Collet, 2019). Two of a million ids collide with a probability of about 5e-8.

    Returns
    -------
    An int in [1, 2**63); 0 is never returned, it marks empty slots in arrays.
    """
    return (xxhash.xxh3_64_intdigest(text.encode()) >> 1) or 1


def hash32(text: str) -> int:
    """Hash an attribute's name to an integer in [1, 2**32); 0 marks an empty slot."""
    return xxhash.xxh32_intdigest(text.encode()) or 1


def hash_all(texts: list[str]) -> NDArray[np.int64]:
    """Hash many ids: (N,) strings to (N,) int64."""
    return np.fromiter((hash64(text) for text in texts), dtype=np.int64, count=len(texts))
