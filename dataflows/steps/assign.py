"""The step that writes A/B assignments, once a user and declaration."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.records import Outgoing
from dataflows.steps.profile import Output
from models.messages import Assignment


def assign(step_id: str, due: KeyedStream[Output]) -> KeyedStream[Outgoing]:
    """Encode the assignments: (user_id, Outgoing), and leave out the rest."""

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        return [_outgoing(user_id, output) for user_id, output in batch if isinstance(output, Assignment)]

    return op.flat_map_batch(step_id, due, mapper)


def _outgoing(user_id: str, assignment: Assignment) -> tuple[str, Outgoing]:
    record_id = f"{user_id}/{assignment.experiment}/{assignment.digest}"
    return user_id, Outgoing(user_id, record_id, encode(assignment))
