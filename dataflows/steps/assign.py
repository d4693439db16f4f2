"""The step that writes A/B assignments, once a user and declaration."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.records import Outgoing
from dataflows.steps.profile import Output
from models.messages import Assignment


def assign(step_id: str, due: KeyedStream[Output]) -> KeyedStream[Outgoing]:
    """Encode the assignments: (user_id, Outgoing), and leave out the rest."""

    def mapper(entry: tuple[str, Output]) -> tuple[str, Outgoing] | None:
        user_id, assignment = entry
        if not isinstance(assignment, Assignment):
            return None
        record_id = f"{user_id}/{assignment.experiment}/{assignment.digest}"
        return user_id, Outgoing(user_id, record_id, encode(assignment))

    return op.filter_map(step_id, due, mapper)
