"""The step that reduces events to what learning needs of them."""

from collections import Counter
from collections.abc import Callable, Mapping

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from dataflows.records import Record
from models.learning.transitions import Act, act_of
from models.messages import DeadLetter, Event


def read_acts(
    step_id: str,
    records: Stream[Record],
    decode: Callable[[list[Record]], list[Event | DeadLetter]],
    weights: Mapping[str, float],
    segment_fields: tuple[str, ...],
    counts: Counter[str],
) -> KeyedStream[Act]:
    """Decode events, by user; leave out those that teach nothing.

    Bad messages are only counted here, by reason: `recommend` writes their dead letters.
    """

    def mapper(batch: list[Record]) -> list[tuple[str, Act]]:
        acts = []
        for event in decode(batch):
            if isinstance(event, DeadLetter):
                counts[event.reason] += 1
            elif (act := act_of(event, weights, segment_fields)) is not None:
                acts.append((event.user_id, act))
        return acts

    return op.flat_map_batch(step_id, records, mapper)
