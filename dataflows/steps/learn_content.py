"""The steps that turn catalog entries into content rows: encoded in batches, then compared an item a key."""

import struct
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple, Self

import bytewax.operators as op
import xxhash
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.records import Outgoing
from dataflows.steps.shards import first_version, outgoing, tombstone
from models.items.vectors import TextSpace
from models.items.wire import ContentRow, content_key
from models.messages import Item
from models.numeric.arrays import Int8s

FORMAT = 1
_STATE = struct.Struct("<BxxxxxxxqQ")


class ContentChange(NamedTuple):
    """What is published of one item's content."""

    version: int
    vector: Int8s
    """(64,)"""


class ContentState:
    """The digest of what was published last of one item: says whether its row on the topic would change.

    Parameters
    ----------
    first_version : of the first row; as of `models.counts.item_statistics.ItemStatistics`.
    """

    __slots__ = ("_digest", "_version")

    def __init__(self, first_version: int) -> None:
        self._version = first_version - 1
        self._digest: int | None = None

    def apply(self, vector: Int8s) -> ContentChange | None:
        """Take a catalog entry's vector (64,); return what to publish, or None when the content is what it was."""
        digest = xxhash.xxh3_64_intdigest(vector.tobytes())
        if digest == self._digest:
            return None
        self._digest = digest
        self._version += 1
        return ContentChange(self._version, vector)

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
        ValueError : the bytes are of a newer format.
        """
        version, row_version, digest = _STATE.unpack(packed)
        if version != FORMAT:
            raise ValueError(f"a content state of format {version}: this release reads format {FORMAT}")
        state = cls(row_version + 1)
        state._digest = digest
        return state


class LearnContentLogic(StatefulBatchLogic[Int8s | None, ContentChange | None, bytes]):
    """One item; forgotten when it is removed."""

    def __init__(self, packed: bytes | None, clock: Callable[[], datetime]) -> None:
        self._state = ContentState.unpack(packed) if packed else ContentState(first_version(clock()))

    def on_batch(self, values: list[Int8s | None]) -> tuple[Iterable[ContentChange | None], bool]:
        """Emit what to publish where the content has changed, None where the item was removed."""
        changes: list[ContentChange | None] = []
        for vector in values:
            if vector is None:
                changes.append(None)
                self._state.remove()
            elif (change := self._state.apply(vector)) is not None:
                changes.append(change)
        return changes, self.DISCARD if values[-1] is None else self.RETAIN

    def snapshot(self) -> bytes:
        """Pack what was published last."""
        return self._state.pack()


def learn_content(
    step_id: str, items: KeyedStream[Item | None], texts: TextSpace, clock: Callable[[], datetime]
) -> KeyedStream[Outgoing]:
    """Publish an item's content when it changes, and its end.

    Parameters
    ----------
    items : by item_id; None is an item that was removed.
    """
    vectors = op.flat_map_batch(f"{step_id}_vectors", items, lambda batch: _encoded(batch, texts))
    changes = op.stateful_batch(step_id, vectors, lambda packed: LearnContentLogic(packed, clock))
    return op.map(f"{step_id}_rows", changes, _outgoing)


def _encoded(batch: list[tuple[str, Item | None]], texts: TextSpace) -> list[tuple[str, Int8s | None]]:
    encoded = iter(texts.items([item for _, item in batch if item is not None]))
    return [(item_id, None if item is None else next(encoded)) for item_id, item in batch]


def _outgoing(keyed: tuple[str, ContentChange | None]) -> tuple[str, Outgoing]:
    item_id, change = keyed
    message = tombstone(content_key(item_id)) if change is None else outgoing(ContentRow(item_id, *change))
    return message.key, message
