"""What waits in one user's attribution. The order of the fields is that of the snapshots."""

from typing import NamedTuple


class PendingSlate(NamedTuple):
    """A slate that waits."""

    name: int
    """Hash of its id."""
    recommendation_id: str
    user_id: str
    created_at: int
    experiment: str | None
    variant: str | None
    model_version: str
    items: tuple[str, ...]
    hashes: tuple[int, ...]
    positions: tuple[int, ...]
    propensities: tuple[float, ...]
    features: bytes
    """(L, F) float16."""


class PendingFeedback(NamedTuple):
    """An impression or feedback that waits."""

    name: int
    """Hash of the event's id."""
    at: int
    item: int
    kind: str
    value: float
    slate: int
    """Hash of the slate's id, 0 where the platform did not say."""


class HistoryAct(NamedTuple):
    """Something of weight above 0, for histories."""

    at: int
    item: int
