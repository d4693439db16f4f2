"""What crosses a flow's edges: records in, outgoing messages out."""

from typing import NamedTuple


class Record(NamedTuple):
    """One message as a source read it."""

    partition: int
    offset: int
    timestamp: int
    """The record's own time, Unix milliseconds."""
    key: bytes | None
    value: bytes | None


class Outgoing(NamedTuple):
    """One message for a sink of `(key, Outgoing)`: the engine routes by the first, a sink sees the second."""

    key: str
    """The message's key."""
    record_id: str
    """What names the message when a resumed sink reads its partition back."""
    value: bytes | None
    """None is a tombstone."""
