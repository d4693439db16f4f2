"""What `evaluate` sees of a user, reduced to what metrics need; items and ids are 63-bit hashes."""

from msgspec import Struct

from models.credit import ANY_SLATE
from models.names import DEFAULT_PLACEMENT

N_GROUPS = 8
"""Groups of users who wait to be judged, an age long together."""


class Act(Struct, frozen=True, array_like=True, tag="a"):
    """The user did something with an item other than see it."""

    at: int
    """Event time, Unix milliseconds; as in all observations."""
    id: int
    """Of the event."""
    item: int
    value: float | None = None
    is_goal: bool = False
    is_rating: bool = False
    slate: int = ANY_SLATE
    """Of the slate that the platform says it came from."""
    written_at: int = 0
    """The record's own time."""


class Impression(Struct, frozen=True, array_like=True, tag="i"):
    """An `impression` event: the platform says that an item was on the screen."""

    at: int
    id: int
    item: int
    slate: int = ANY_SLATE
    """As of an act."""


class Exposure(Struct, frozen=True, array_like=True, tag="x"):
    """The user was assigned to a variant."""

    at: int
    experiment: str
    digest: str
    variant: str
    shares: tuple[float, ...] | None = None
    """By which the variant was chosen, where they were not the declared ones."""
    weight: float = 1.0
    """What the user counts for (`models.experiments.assign.traffic.weight_of`)."""
    age_ms: int = 0
    """At which the user is judged; 0: as the outcomes come."""
    bucket: float = -1.0
    """Where the experiment's salt places the user; below 0: an earlier release did not keep it."""

    @property
    def due_at(self) -> int:
        """Return from when on the user is judged: on a grid, so that users come into the sums by few groups."""
        step = max(self.age_ms // N_GROUPS, 1)
        return -(-(self.at + self.age_ms) // step) * step if self.age_ms else 0

    @property
    def id(self) -> int:
        """One exposure at a moment: experiments exclude each other."""
        return 0

    @property
    def arm(self) -> tuple[str, str, str]:
        """What the user's metrics count for."""
        return self.experiment, self.digest, self.variant


class SlateSent(Struct, frozen=True, array_like=True, tag="s"):
    """A slate was sent."""

    at: int
    id: int
    trigger: int
    """Of the event that caused it."""
    items: tuple[int, ...]
    """In their order, the top first."""
    novelty: float | None = None
    """Summed over the items; None where the slate did not log it."""
    written_at: int = 0
    teams: tuple[int, ...] | None = None
    """Of an interleaved slate: which variant brought each item, 0 or 1."""
    learned_until: int = 0
    """Event time up to which the item tables had learned: an act until then proves nothing."""
    models: tuple[str, ...] = ()
    """Version of the ranker that made it; of an interleaved slate, of each team's."""
    placement: str = DEFAULT_PLACEMENT
    """Where it was shown."""


Observation = Act | Impression | Exposure | SlateSent

_RANK = {Act: 0, Impression: 1, Exposure: 2, SlateSent: 3}


def order(observation: Observation) -> tuple[int, int, int]:
    """Return what observations are sorted by: time; at the same moment the act, the exposure, and the slate it caused.

    The same observation, read twice, is at the same position.
    """
    return observation.at, _RANK[type(observation)], observation.id
