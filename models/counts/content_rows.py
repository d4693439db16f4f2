"""Whether an item's content has changed: what its row on the topic depends on, and nothing more."""

import struct
from typing import NamedTuple, Self

import xxhash

from models.numeric.arrays import Int8s

FORMAT = 1
_STATE = struct.Struct("<BxxxxxxxqQ")


class ContentRow(NamedTuple):
    """What is published of one item's content."""

    version: int
    vector: Int8s
    """(64,)"""


class ContentState:
    """The digest of what was published last of one item.

    Parameters
    ----------
    first_version : of the first row; as of `item_statistics.ItemStatistics`.
    """

    __slots__ = ("_digest", "_version")

    def __init__(self, first_version: int) -> None:
        self._version = first_version - 1
        self._digest: int | None = None

    def apply(self, vector: Int8s) -> ContentRow | None:
        """Take a catalog entry's vector (64,); return its row, or None when the content is what it was."""
        digest = xxhash.xxh3_64_intdigest(vector.tobytes())
        if digest == self._digest:
            return None
        self._digest = digest
        self._version += 1
        return ContentRow(self._version, vector)

    def remove(self) -> None:
        """Take the item's removal: should it come back, its row is published again."""
        self._digest = None

    def pack(self) -> bytes:
        """Pack what was published into 24 bytes."""
        return _STATE.pack(FORMAT, self._version, self._digest or 0)

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """Restore what `pack` returned.

        Raises
        ------
        ValueError
            When the bytes are of a newer format.
        """
        version, row_version, digest = _STATE.unpack(packed)
        if version != FORMAT:
            raise ValueError(f"a content state of format {version}: this release reads format {FORMAT}")
        state = cls(row_version + 1)
        state._digest = digest
        return state
