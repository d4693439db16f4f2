"""The step that decodes a topic whose bad messages another flow reports."""

from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream

from dataflows.records import Record
from models.messages import DeadLetter

M = TypeVar("M")


def decode_known(
    step_id: str,
    records: Stream[Record],
    decode: Callable[[list[Record]], list[M | DeadLetter]],
    counts: Counter[str],
) -> Stream[M]:
    """Decode messages; bad ones are only counted, by reason: the flow that owns the topic writes their dead letters."""

    def mapper(batch: list[Record]) -> list[M]:
        messages = []
        for message in decode(batch):
            if isinstance(message, DeadLetter):
                counts[message.reason] += 1
            else:
                messages.append(message)
        return messages

    return op.flat_map_batch(step_id, records, mapper)
