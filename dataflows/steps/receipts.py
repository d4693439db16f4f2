"""The steps that every flow has for erasures: reading them, and writing the receipts of what went."""

from collections import Counter
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from dataflows.codecs import Decoder, encode
from dataflows.following.erasures import Erased, Erasures
from dataflows.receipts import Signer
from dataflows.records import Outgoing, Record
from models.messages import DeadLetter, Erasure, ErasureReceipt
from models.numeric.ids import hash64


def read_erasures(
    step_id: str, records: Stream[Record], decoder: Decoder[Erasure], erasures: Erasures, counts: Counter[str]
) -> KeyedStream[Erased]:
    """Decode erasures by state key, and hold to them from now on: (state key, Erased).

    Bad messages are only counted here, by reason: `recommend` writes their dead letters.
    """

    def mapper(batch: list[Record]) -> list[tuple[str, Erased]]:
        found = []
        for erasure in decoder(batch):
            if isinstance(erasure, DeadLetter):
                counts[erasure.reason] += 1
                continue
            erasures.note(erasure.user_id, erasure.requested_at)
            keys = erasures.keys.every(erasure.user_id)
            users = tuple(map(hash64, keys))
            found.append((keys[0], Erased(keys[0], users[0], users, erasure.erasure_id, erasure.requested_at)))
        return found

    return op.flat_map_batch(step_id, records, mapper)


def write_receipts(step_id: str, done: Stream[Any], signer: Signer) -> KeyedStream[Outgoing]:
    """Sign and encode the receipts in a keyed stream, each under its user and place: (receipt's key, Outgoing).

    So compaction keeps the newest of each place, and a resumed flow writes none twice.
    """

    def mapper(batch: list[tuple[str, Any]]) -> list[tuple[str, Outgoing]]:
        return [_outgoing(signer.sign(part)) for _, part in batch if isinstance(part, ErasureReceipt)]

    return op.flat_map_batch(step_id, done, mapper)


def _outgoing(receipt: ErasureReceipt) -> tuple[str, Outgoing]:
    key = f"{receipt.state_key}/{receipt.place}"
    return key, Outgoing(key, f"{key}@{receipt.erasure_id}", encode(receipt))
