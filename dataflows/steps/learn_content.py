"""The steps that turn catalog entries into content rows: encoded in batches, then compared an item a key."""

from collections.abc import Callable, Iterable
from datetime import datetime

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.records import Outgoing
from dataflows.steps.shards import first_version
from models.counts.content_rows import ContentRow, ContentState
from models.items.rows import pack_content
from models.items.texts import TextSpace
from models.messages import Item
from models.numeric.arrays import Int8s


class LearnContentLogic(StatefulBatchLogic[Int8s | None, ContentRow | None, bytes]):
    """One item; forgotten when it is removed."""

    def __init__(self, packed: bytes | None, clock: Callable[[], datetime]) -> None:
        self._state = ContentState.unpack(packed) if packed else ContentState(first_version(clock()))

    def on_batch(self, values: list[Int8s | None]) -> tuple[Iterable[ContentRow | None], bool]:
        """Emit a row where the content has changed, None where the item was removed."""
        rows: list[ContentRow | None] = []
        for vector in values:
            if vector is None:
                rows.append(None)
                self._state.remove()
            elif (row := self._state.apply(vector)) is not None:
                rows.append(row)
        return rows, self.DISCARD if values[-1] is None else self.RETAIN

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
    rows = op.stateful_batch(step_id, vectors, lambda packed: LearnContentLogic(packed, clock))
    return op.map(f"{step_id}_rows", rows, _outgoing)


def _encoded(batch: list[tuple[str, Item | None]], texts: TextSpace) -> list[tuple[str, Int8s | None]]:
    vectors = iter(texts.items([item for _, item in batch if item is not None]))
    return [(item_id, None if item is None else next(vectors)) for item_id, item in batch]


def _outgoing(keyed: tuple[str, ContentRow | None]) -> tuple[str, Outgoing]:
    item_id, row = keyed
    key = f"content/{item_id}"
    if row is None:
        return key, Outgoing(key, f"{key}@gone", None)
    return key, Outgoing(key, f"{key}@{row.version}", pack_content(item_id, row.version, row.vector))
