"""The steps at a flow's entrance: records become messages, and what cannot be used becomes a dead letter."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.following.erasures import Erasures, known_events
from dataflows.records import Outgoing, Record
from dataflows.steps.rest import Rested, Resting
from models.messages import DeadLetter, Erasure, Event, Request

M = TypeVar("M")
Message = TypeVar("Message", Event, Request, Erasure)


class Received(NamedTuple):
    """A message and the record that it came in: a late one goes to the dead letters with its original bytes."""

    message: Event | Request | Erasure
    record: Record
    state_key: str
    """Of the message's user."""


def decode(
    step_id: str,
    records: Stream[Record],
    decoder: Callable[[list[Record]], list[Message | DeadLetter]],
    erasures: Erasures,
) -> Stream[tuple[str, Received] | DeadLetter]:
    """Decode records into (state key, Received) or a dead letter."""

    def mapper(batch: list[Record]) -> list[tuple[str, Received] | DeadLetter]:
        decoded: list[tuple[str, Received] | DeadLetter] = []
        for message, record in zip(decoder(batch), batch, strict=True):
            if isinstance(message, DeadLetter):
                decoded.append(message)
            else:
                key = erasures.keys(message.user_id)
                decoded.append((key, Received(message, record, key)))
        return decoded

    return op.flat_map_batch(step_id, records, mapper)


def by_user(
    step_id: str, decoded: Stream[tuple[str, M] | DeadLetter], resting: Resting | None = None
) -> KeyedStream[M | Rested]:
    """Leave the dead letters out, and tell those who have rested."""

    def mapper(batch: list[tuple[str, M] | DeadLetter]) -> list[tuple[str, M | Rested]]:
        known: list[tuple[str, M | Rested]] = [entry for entry in batch if not isinstance(entry, DeadLetter)]
        return known if resting is None else [*known, *resting.due()]

    return op.flat_map_batch(step_id, decoded, mapper)


def decode_known(
    step_id: str,
    records: Stream[Record],
    decoder: Callable[[list[Record]], list[Event | DeadLetter]],
    counts: Counter[str],
    erasures: Erasures,
) -> Stream[Event]:
    """Decode events, whose dead letters another flow writes: bad messages are only counted here, by reason.

    From here on users are called by their state keys, and what is older than its user's erasure is gone.
    """

    def mapper(batch: list[Record]) -> list[Event]:
        return [event for event, _ in known_events(decoder, batch, erasures, counts)]

    return op.flat_map_batch(step_id, records, mapper)


def readable(step_id: str, decoded: Stream[M | DeadLetter]) -> Stream[M]:
    """Leave the dead letters out."""
    return op.filter_map(step_id, decoded, lambda message: None if isinstance(message, DeadLetter) else message)


def write_letters(step_id: str, decoded: Stream[M | DeadLetter]) -> KeyedStream[Outgoing]:
    """Encode the dead letters, each under the position of the message that it holds, and leave out the rest.

    The same bad message gives the same record_id, so it is written once.
    """

    def mapper(batch: list[M | DeadLetter]) -> list[tuple[str, Outgoing]]:
        return [_outgoing(letter) for letter in batch if isinstance(letter, DeadLetter)]

    return op.flat_map_batch(step_id, decoded, mapper)


def _outgoing(letter: DeadLetter) -> tuple[str, Outgoing]:
    key = f"{letter.topic}/{letter.partition}/{letter.offset}"
    return key, Outgoing(key, key, encode(letter))
