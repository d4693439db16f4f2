"""What an erasure leaves on a topic that is keyed by user."""

from dataflows.records import Outgoing
from models.messages import Erasure


def tombstone(erasure: Erasure) -> Outgoing:
    """Return the message without a value that lets compaction remove the user's others."""
    return Outgoing(erasure.user_id, f"erased/{erasure.user_id}/{erasure.erasure_id}", None)
