"""The step that writes A/B assignments, once a user and declaration, and their end when a user is erased."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.records import Outgoing
from dataflows.steps.erase import tombstone
from dataflows.steps.profile import Output
from models.messages import Assignment, Erasure


def assign(step_id: str, due: KeyedStream[Output]) -> KeyedStream[Outgoing]:
    """Encode the assignments: (user_id, Outgoing), and leave out the rest."""

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        return [
            (user_id, tombstone(output) if isinstance(output, Erasure) else _outgoing(user_id, output))
            for user_id, output in batch
            if isinstance(output, Assignment | Erasure)
        ]

    return op.flat_map_batch(step_id, due, mapper)


def _outgoing(user_id: str, assignment: Assignment) -> Outgoing:
    record_id = f"{user_id}/{assignment.experiment}/{assignment.digest}"
    return Outgoing(user_id, record_id, encode(assignment))
