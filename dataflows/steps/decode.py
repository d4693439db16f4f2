"""The step that turns records into messages, by user; what does not decode stays beside them as a dead letter."""

from typing import NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from dataflows.codecs import Decoder
from dataflows.records import Record
from models.messages import DeadLetter, Erasure, Event, Request


class Received(NamedTuple):
    """A message and the record that it came in: a late one goes to the dead letters with its original bytes."""

    message: Event | Request | Erasure
    record: Record


def decode(
    step_id: str, records: Stream[Record], decoder: Decoder[Event] | Decoder[Request] | Decoder[Erasure]
) -> Stream[tuple[str, Received] | DeadLetter]:
    """Decode records into (user_id, Received) or a dead letter."""

    def mapper(batch: list[Record]) -> list[tuple[str, Received] | DeadLetter]:
        return [
            message if isinstance(message, DeadLetter) else (message.user_id, Received(message, record))
            for message, record in zip(decoder(batch), batch, strict=True)
        ]

    return op.flat_map_batch(step_id, records, mapper)


def by_user(step_id: str, decoded: Stream[tuple[str, Received] | DeadLetter]) -> KeyedStream[Received]:
    """Leave the dead letters out."""
    return op.flat_map_batch(
        step_id, decoded, lambda batch: [entry for entry in batch if not isinstance(entry, DeadLetter)]
    )
