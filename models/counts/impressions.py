"""How often items were shown, as far as that decides whether they are cold: one shard of them."""

import struct
from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

from models.items.wire import VERSIONS_A_MS, GraduatedRow

FORMAT = 1
_HEADER = struct.Struct("<BxxxII")


class ItemShown(NamedTuple):
    """An item that somebody was shown."""

    item_id: str
    at: int
    """Unix ms."""


class Impressions:
    """Counts impressions by item, and says which items have had enough of them: those have graduated.

    It does not matter how impressions fall into batches, since each is counted by itself.

    Parameters
    ----------
    graduates_after : impressions after which an item has graduated; further ones are not counted.
    max_items : beyond it, the item that was shown longest ago is forgotten.
    """

    def __init__(self, graduates_after: int, max_items: int = 1 << 31) -> None:
        self._graduates_after = graduates_after
        self._max_items = max_items
        self._counts: dict[str, int] = {}  # the item that was shown last is at the end

    @property
    def n(self) -> int:
        """Items known."""
        return len(self._counts)

    def count(self, shown: Iterable[ItemShown]) -> tuple[list[GraduatedRow], list[str]]:
        """Count impressions.

        Returns
        -------
        The items that have graduated now, and the ids of those that had and were forgotten.
        """
        graduated, forgotten = [], []
        counts, enough = self._counts, self._graduates_after
        for item_id, at in shown:
            before = counts.pop(item_id, 0)
            counts[item_id] = min(before + 1, enough)
            if before < enough <= before + 1:
                graduated.append(GraduatedRow(item_id, at << VERSIONS_A_MS, at))
            if len(counts) > self._max_items:
                oldest = next(iter(counts))
                if counts.pop(oldest) >= enough:
                    forgotten.append(oldest)
        return graduated, forgotten

    def pack(self) -> bytes:
        """Pack into bytes: six an item, and its id."""
        ids = [item_id.encode() for item_id in self._counts]
        return b"".join(
            (
                _HEADER.pack(FORMAT, len(ids), self._graduates_after),
                np.fromiter(map(len, ids), np.uint16, len(ids)).tobytes(),
                np.fromiter(self._counts.values(), np.uint32, len(ids)).tobytes(),
                *ids,
            )
        )

    @classmethod
    def unpack(cls, packed: bytes, graduates_after: int, max_items: int = 1 << 31) -> Self:
        """Restore what `pack` returned.

        After how many impressions an item graduates may have changed since: those that have had as many do so, perhaps
        once more, when they are shown next.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n, graduated_after = _HEADER.unpack_from(packed)
        if version != FORMAT:
            raise ValueError(f"impressions of format {version}: this release reads format {FORMAT}")
        impressions = cls(graduates_after, max_items)
        counts = np.frombuffer(packed, np.uint32, n, _HEADER.size + 2 * n)
        if graduated_after != graduates_after:
            counts = np.minimum(counts, max(graduates_after - 1, 0))
        start = _HEADER.size + 6 * n
        lengths = np.frombuffer(packed, np.uint16, n, _HEADER.size)
        for length, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            impressions._counts[packed[start : start + length].decode()] = count
            start += length
        return impressions
