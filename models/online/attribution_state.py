"""What waits in one user's attribution, and its bytes in a snapshot. The order of all fields is that of the bytes."""

from typing import NamedTuple

import msgspec

FORMAT = 2
_READ_FORMATS = {b"\x01", b"\x02"}
"""The first had neither a slate's placement nor an impression's position."""


class PendingSlate(NamedTuple):
    """A slate that waits."""

    id_hash: int
    recommendation_id: str
    user_id: str
    """State key of the user."""
    created_at: int
    experiment: str | None
    variant: str | None
    model_version: str
    items: tuple[str, ...]
    item_hashes: tuple[int, ...]
    positions: tuple[int, ...]
    propensities: tuple[float, ...]
    features: bytes
    """(L, F) float16."""
    placement: str | None = None
    is_click_decided: bool = False
    """Whether it is decided already what was clicked, while later stages wait."""
    chances: tuple[tuple[float, ...], ...] = ()
    """(L, S) what the slate said of the stages; empty where it said nothing."""


class PendingFeedback(NamedTuple):
    """An impression or feedback that waits."""

    id_hash: int
    """Of the event."""
    at: int
    item: int
    """Hash of its id."""
    event_type: str
    value: float
    slate: int
    """Hash of the slate's id; `models.credit.ANY_SLATE` where the platform names none."""
    position: int | None = None
    """Where the platform says that an impression was."""


class HistoryAct(NamedTuple):
    """Something of weight above 0, for histories."""

    at: int
    item: int


class AttributionState(NamedTuple):
    """All of one user."""

    events_at: int
    slates_at: int
    closed_until: int
    slates: list[PendingSlate]
    events: list[PendingFeedback]
    used: list[int]
    acts: list[HistoryAct]
    erased_until: int = 0
    """The erasure, Unix ms, that the user came back after; 0: none."""

    def pack(self) -> bytes:
        """Pack into a version byte and MessagePack: about 100 bytes an item that waits, 40 an event."""
        return bytes([FORMAT]) + msgspec.msgpack.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> "AttributionState":
        """Restore what `pack` returned.

        Raises
        ------
        ValueError
            When the bytes are of another format, or damaged.
        """
        if packed[:1] not in _READ_FORMATS:
            raise ValueError(f"a user's attribution of format {packed[:1]!r}: this release reads up to {FORMAT}")
        try:
            return msgspec.msgpack.decode(packed[1:], type=cls)
        except msgspec.DecodeError as error:
            raise ValueError(f"a user's attribution is damaged: {error}") from error
