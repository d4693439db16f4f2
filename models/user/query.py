"""What a slate needs to know about its user and its trigger, at one moment."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.messages import Context
from models.names import DEFAULT_PLACEMENT
from models.strategy import Strategy
from models.user.record import NOBODY


@dataclass(slots=True)
class Query:
    """A slate to be made. Items are 63-bit hashes (`models.numeric.ids.hash64`), attributes 32-bit hashes."""

    user_id: str
    trigger: Literal["event", "request"]
    trigger_id: str
    at: int
    """Event time of the trigger, Unix milliseconds."""
    strategy: Strategy
    state: bytes = NOBODY
    """The user's record (`models.user.record.STATE`) as it was: recent items, interests, preferences, prices."""
    experiment: str | None = None
    variant: str | None = None
    current_item: int = 0
    """What the user is looking at; 0 is none."""
    session_started_at: int | None = None
    """When the running session began; None where the last one is over."""
    impressions: Mapping[int, float] = field(default_factory=dict)
    """Item to decayed impressions without a reaction."""
    owned: Collection[int] = ()
    """Items that the user has, the newest of them."""
    n_events: int = 0
    n_last_5_min: int = 0
    n_last_hour: int = 0
    segments: tuple[int, ...] = ()
    """Hashes of the trending segments that the user falls in, most specific first, ending with "all"."""
    context: Context | None = None
    """What the trigger says besides, without where its user is."""
    location: tuple[float, float] | None = None
    """Where the user is, latitude and longitude in degrees, rounded (`models.locations`); None where it is not known.
    It goes no further than the query."""
    candidates: list[str] | None = None
    """Rank only these item ids."""
    query: str | None = None
    """Search text of a request."""
    n_items: int | None = None
    """Overrides the strategy's slate length."""
    rival: Strategy | None = None
    """Another strategy, whose slate is interleaved with the first one's (`models.experiments.assign.interleaving`)."""
    user: int = 0
    """Hash of the user's state key, by which what was learned of the user is found; 0: that of the id."""
    written_at: int = field(default=0, compare=False)
    """Time of the trigger's record, Unix milliseconds; 0: not known."""
    placement: str = DEFAULT_PLACEMENT
    """Where the slate is to be shown."""
    consent: bool = True
    """False: nothing is known of the user, and nothing may be learned from the slate."""
