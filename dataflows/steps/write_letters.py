"""The step that writes dead letters, each under the position of the message that it holds."""

from collections.abc import Callable
from typing import TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from dataflows.records import Outgoing
from models.messages import DeadLetter

X = TypeVar("X")


def write_letters(
    step_id: str, decoded: Stream[X | DeadLetter], encode: Callable[[DeadLetter], bytes]
) -> KeyedStream[Outgoing]:
    """Encode the dead letters of what was decoded, and leave out the rest.

    The same bad message gives the same record_id, so it is written once.
    """

    def mapper(batch: list[X | DeadLetter]) -> list[tuple[str, Outgoing]]:
        return [_outgoing(letter, encode) for letter in batch if isinstance(letter, DeadLetter)]

    return op.flat_map_batch(step_id, decoded, mapper)


def _outgoing(letter: DeadLetter, encode: Callable[[DeadLetter], bytes]) -> tuple[str, Outgoing]:
    key = f"{letter.topic}/{letter.partition}/{letter.offset}"
    return key, Outgoing(key, key, encode(letter))
