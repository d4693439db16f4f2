"""What the profile step hands to scoring: all that a slate needs to know about its user, at one moment."""

from dataclasses import dataclass, field
from typing import Literal

from models.messages import Context
from models.strategy import Strategy


@dataclass(slots=True)
class Query:
    """A slate to be made. Items are 63-bit hashes (`models.ids.hash64`), attributes 32-bit hashes."""

    user_id: str
    trigger: Literal["event", "request"]
    trigger_id: str
    at: int
    """Event time of the trigger, Unix milliseconds."""
    strategy: Strategy
    experiment: str | None = None
    variant: str | None = None
    current_item: int = 0
    """What the user is looking at; 0 is none."""
    recent_items: list[int] = field(default_factory=list)
    """At most 32, newest first; repeats stay."""
    recent_at: list[int] = field(default_factory=list)
    recent_weights: list[float] = field(default_factory=list)
    """The event type's weight, times the sign of the feedback (below 0: disliked)."""
    n_in_session: int = 0
    """How many of the recent items belong to the running session (they come first)."""
    interests: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Attribute to decayed interest: (the moment, the habit), both already decayed to `at`."""
    preferences: dict[int, float] = field(default_factory=dict)
    """Attribute to the weight that the user's own River learner gives it."""
    impressions: dict[int, float] = field(default_factory=dict)
    """Item to decayed impressions without a reaction."""
    owned: frozenset[int] | set[int] = frozenset()
    """Items bought; at most 256."""
    n_events: int = 0
    n_last_5_min: int = 0
    n_last_hour: int = 0
    drift: float = 0.0
    """How far the moment has parted from the habit: 1 - cosine of the two, in [0, 1]."""
    mean_price: float = 0.0
    """Decayed mean price of what the user acted on; 0 is unknown."""
    segments: tuple[int, ...] = ()
    """Hashes of the trending segments that the user falls in, most specific first, ending with "all"."""
    context: Context | None = None
    candidates: list[str] | None = None
    """Rank only these item ids."""
    query: str | None = None
    """Search text of a request."""
    n_items: int | None = None
    """Overrides the strategy's slate length."""
