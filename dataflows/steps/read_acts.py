"""The step that reduces events to what learning needs of them."""

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream

from models.counts.transitions import ItemAct, act_of
from models.events import EventConfig
from models.messages import Event


def read_acts(step_id: str, events: Stream[Event], config: EventConfig) -> KeyedStream[ItemAct]:
    """Reduce events, by user; leave out those that teach nothing."""

    def mapper(batch: list[Event]) -> list[tuple[str, ItemAct]]:
        acts = [(event.user_id, act_of(event, config)) for event in batch]
        return [(user_id, act) for user_id, act in acts if act is not None]

    return op.flat_map_batch(step_id, events, mapper)
