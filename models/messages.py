"""Every message on every topic, as a frozen dataclass: the public contract.

Times are integer Unix milliseconds. `version` is the version of the message's own schema; a reader refuses a newer one.
Constraints stand in the types, so the decoder enforces them; those that need settings or the record's own time
(known event types, a time in the future) are checked by `dataflows.codecs`.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from models.names import DEFAULT_PLACEMENT, ReasonCode
from models.strategy import Share

MAX_ID = 256
"""Characters of an id."""
Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
Text: TypeAlias = Annotated[str, Meta(max_length=20_000)]
Words: TypeAlias = Annotated[str, Meta(max_length=1_000)]
Millis: TypeAlias = Annotated[int, Meta(ge=0, lt=2**53)]
Version: TypeAlias = Annotated[int, Meta(ge=1, le=1)]
Value: TypeAlias = str | int | float | bool | None
Context: TypeAlias = Annotated[dict[Id, Value], Meta(max_length=64)]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did, or was shown, with an item."""

    event_id: Id
    user_id: Id
    item_id: Id
    event_type: Id
    timestamp: Millis
    session_id: Id | None = None
    value: Annotated[float, Meta(ge=-1e12, le=1e12)] | None = None
    """A rating, a price or seconds, by event type."""
    recommendation_id: Id | None = None
    position: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    context: Context | None = None
    consent: bool = True
    """False: answered from its own context alone; nothing of it is kept, learned or judged."""
    version: Version = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A page was opened and wants a slate."""

    request_id: Id
    user_id: Id
    timestamp: Millis
    item_id: Id | None = None
    """What is on the page; never recommended on it."""
    n_items: Annotated[int, Meta(ge=1, le=100)] | None = None
    query: Words | None = None
    candidates: Annotated[list[Id], Meta(min_length=1, max_length=1_000)] | None = None
    """Rank only these."""
    context: Context | None = None
    consent: bool = True
    """As of an event."""
    placement: Id | None = None
    """Where the slate will be shown, by the name of one that is declared; none: `default`."""
    version: Version = 1


@dataclass(frozen=True, slots=True)
class Location:
    """Where an item is, and how far it reaches from there."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    """Degrees, north of the equator above 0."""
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    """Degrees, east of Greenwich above 0."""
    reach_km: Annotated[float, Meta(ge=0, le=20_038)] | None = None
    """How far away it still serves, delivers or may be shown, where a rule asks (`{item: reach_km}`); none: not known.
    Half-way round the Earth is 20,038 km at most."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the catalog."""

    item_id: Id
    title: Words = ""
    text: Text = ""
    categories: Annotated[list[Id], Meta(max_length=64)] = field(default_factory=list)
    tags: Annotated[list[Id], Meta(max_length=64)] = field(default_factory=list)
    price: Annotated[float, Meta(ge=0)] | None = None
    margin: Annotated[float, Meta(ge=0)] | None = None
    """What a purchase earns, where strategies rank by it; in the price's currency."""
    attributes: Context | None = None
    available: bool = True
    created_at: Millis = 0
    expires_at: Millis | None = None
    """From then on it is not recommended; none: it does not expire."""
    location: Location | None = None
    """Where it is; none: nowhere in particular. Rules filter and boost by its distance from the query."""
    requires: Annotated[list[Id], Meta(max_length=64)] = field(default_factory=list)
    """Shown only to a user who has all of these: an item's id where the user owns it (see `owning_types`), `name=value`
    where the trigger's context says so."""
    excludes: Annotated[list[Id], Meta(max_length=64)] = field(default_factory=list)
    """Never shown to a user who has one of these, in the same words, or who has lately acted on one."""
    version: Version = 1


@dataclass(frozen=True, slots=True)
class Erasure:
    """A user asks to be forgotten."""

    erasure_id: Id
    user_id: Id
    requested_at: Millis
    """What was made or written until then is left out, whenever it comes up."""
    version: Version = 1


@dataclass
class SlateItem:
    """One recommended item.

    Not frozen, nor is the slate: a frozen dataclass takes five times as long to make, and a second makes 50,000 items.
    Without slots both are written as JSON in two thirds of the time: orjson takes their dicts as they are.
    """

    item_id: str
    position: int
    """0 is the top."""
    score: float
    source: str
    """The candidate generator that contributed most."""
    reason: str
    """For people, in the language of EDDY_LANGUAGE."""
    reason_code: ReasonCode
    """The same for programs, which may have words of their own for it."""
    reason_about: str | None
    """What the reason is about: an item's id, or an attribute's value by `taste`; None where it is about nothing."""
    propensity: float
    """Probability that this item was placed here, given the candidates, what stands before it, and whether the slate
    was drawn as a whole or had a place for a cold item; 1 where the choice was deterministic."""
    rule: str | None = field(default=None, kw_only=True)
    """The rule of the strategy that placed the item, or moved it furthest; None where none acted on it."""


@dataclass
class LikelyItem(SlateItem):
    """An item of which it is known how probable each stage is, at the position where it stands, within its window."""

    p_click: float
    """Of any act that counts for something."""
    p_cart: float
    p_purchase: float


@dataclass
class SampledFrom:
    """The C candidates of a slate that was drawn as a whole: what another strategy would have chosen from.

    Each place was drawn in proportion to exp(logit) among the candidates that did not stand on the slate yet and whose
    category held fewer than `max_per_category` places.
    """

    item_ids: list[str]
    logits: NDArray[np.float32] | list[float]
    """(C,) the ranker's scores, standardised and divided by the temperature."""
    categories: NDArray[np.uint32] | list[int]
    """(C,) hashes; 0: none, which no cap counts."""
    max_per_category: int
    features: str
    """(C, F) float16, little-endian, in base64: what a ranker looks at of each."""
    history: NDArray[np.int64] | list[int]
    """Hashes of the items that the user acted on before, the newest first, as rankers see them; 0: none."""
    sources: list[str]
    """Which had a weight; what the others would have brought is not known."""


@dataclass
class Slate:
    """The ordered list that is sent."""

    recommendation_id: str
    user_id: str
    created_at: int
    """The trigger's own event time."""
    trigger: Literal["event", "request"]
    trigger_id: str
    """`event_id` or `request_id`."""
    experiment: str | None
    variant: str | None
    model_version: str
    learned_until: int
    """Event time of the newest event that the item tables had learned."""
    n_events: int
    """Distinct events applied to the user so far: an audit sees any loss or double count."""
    feature_set: str
    """Names the columns of `features`."""
    items: list[SlateItem]
    novelty: float | None
    """Mean over the items of 1 - `popularity_long` of the feature set; None where there is no item."""
    teams: list[int] | None = None
    """Of an interleaved slate: which variant brought each item, 0 the first declared and 1 the second."""
    consent: bool = True
    """False: its user did not agree that anything is kept; it is not learned from, nor judged."""
    rival_version: str | None = None
    """Of an interleaved slate: the second variant's model version; `model_version` is the first's."""
    sampled: float = 0.0
    """With which probability such a slate is drawn as a whole, whether or not this one was."""
    sampled_from: SampledFrom | None = None
    """Of a slate that was drawn as a whole."""
    placement: str = DEFAULT_PLACEMENT
    """Where it is to be shown; `default` where nobody says."""
    features: str | None = None
    """(L, F) float16, little-endian, in base64: what a ranker looks at of each item. On slates that are learned from
    (EDDY_LOG_FEATURES)."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """A user's bucket and variant in an experiment, written when it first holds or changes."""

    user_id: Id
    experiment: Id
    variant: Id
    bucket: float
    """In [0, 1)."""
    assigned_at: Millis
    digest: Id
    """Of the experiment's declaration."""
    shares: list[Share] | None = None
    """By which variant was chosen, where they were not the declared ones; in the order of the variants."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class MetricResult:
    """One metric of one variant, beside the control's. Bounds hold at all looks together; None: nothing known yet."""

    metric: str
    value: float
    """Adjusted by what was before the exposure."""
    error: float | None
    """Standard error of the value."""
    difference: tuple[float | None, float | None] | None = None
    """From the control's value; None for the control itself, as below."""
    lift: tuple[float | None, float | None] | None = None
    """Relative to the control's value: 0.1 is a tenth more."""
    p: float | None = None
    """Sequential p-value, valid at any look."""
    verdict: str | None = None
    """`running`, `winner`, `harmful`, `no difference` (within delta), or `mismatch`."""


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """What is known of a metric that a winner must not harm, beside the control's."""

    metric: str
    margin: float
    """The lift beyond which it would be harmed."""
    lift: tuple[float | None, float | None]
    """Bounds at all looks together; None: nothing known yet."""
    verdict: str
    """`holds`: any possible lift is within the margin; `broken`: none is; `open`: not known yet."""


@dataclass(frozen=True, slots=True)
class VersionResult:
    """What has become of the slates that one version of a ranker made for a variant's users: counts, no comparison."""

    model_version: str
    slates: int
    shown: int
    """Items."""
    acted_on: int
    """Of those shown."""
    judged: int
    """Slates that were followed by an act."""
    hits: int
    """Of those judged, slates that held its item."""


@dataclass(frozen=True, slots=True)
class VariantResult:
    """What is known of one variant."""

    variant: str
    users: int
    coverage: int
    """Different items shown, within some percent."""
    traffic: float
    """Share of the users that it should get from now on: planned, by the bandit, or by the decision."""
    metrics: list[MetricResult]
    judged: int = 0
    """Users who have reached the age at which they are judged: the metrics are theirs."""
    guardrails: list[GuardrailResult] = field(default_factory=list)
    """Of a treatment."""
    versions: list[VersionResult] = field(default_factory=list)
    """The newest last."""


@dataclass(frozen=True, slots=True)
class ResultPoint:
    """Where the goal's lift lay at one look."""

    at: int
    users: int
    lifts: dict[str, tuple[float | None, float | None]]
    """By treatment."""


@dataclass(frozen=True, slots=True)
class TrafficPoint:
    """Shares of the traffic by which new users are assigned, until the next point."""

    from_at: Millis
    """Event time of the first trigger that they hold for."""
    shares: list[float]
    """In the order of the variants."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The first verdict that was not `running`; it stands."""

    verdict: str
    at: int
    users: int
    """Of all variants, judged by then."""
    variant: str | None = None
    """The better one: the winner, the control where all others were harmful; None where there is none."""


@dataclass(frozen=True, slots=True)
class ExperimentResult:
    """What an experiment says now; it may be looked at any time."""

    experiment: str
    digest: str
    """Of the declaration that the users were assigned by."""
    goal: str
    """The metric that decides."""
    impressions: str
    """What counts as an impression: a `slate`, or an `event` of the platform."""
    updated_at: Millis
    """Event time of the newest observation."""
    alpha: float
    delta: float
    mismatch_p: float
    """Sequential p-value of the shares by which the users were assigned."""
    verdict: str
    decision: Decision | None
    variants: list[VariantResult]
    """The control first."""
    history: list[ResultPoint]
    """Oldest first, thinned."""
    traffic: list[TrafficPoint] = field(default_factory=list)
    """The shares by which `recommend` assigns new users, the oldest first; before the first, as declared."""
    holdback: float | None = None
    """Share of new users who get the other variants after a stop; None where nothing is stopped."""
    age_s: int = 0
    """Seconds from its exposure at which a user is judged; 0: at once, by what has been done so far."""
    value_cap: float | None = None
    """At most so much of what a user spent counts; None: all of it."""
    note: str | None = None
    """Why nothing is decided, where that is not for want of users."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class Original:
    """What a record measures of which a dead letter holds only the beginning."""

    key_bytes: int
    value_bytes: int
    sha256: str
    """Of the value."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be used, with everything needed to fix and replay it."""

    topic: str
    partition: int
    offset: int
    reason: str
    """A short, countable name: `malformed`, `invalid_value`, `future`, `seconds`, `wrong_key`, `late`, ..."""
    detail: str
    received_at: int
    """The source record's own timestamp."""
    key: str | None
    """The source record's key, base64."""
    payload: str
    """The original bytes, base64."""
    original: Original | None = None
    """Where key and payload are only the beginning of a record too long for a letter: what the whole one measures."""
    version: int = 1


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What one place held of an erased user before and after: a part of the proof, written by the flow that did it."""

    state_key: str
    erasure_id: str
    requested_at: int
    place: str
    """The step, topic or table: `recommend.profile`."""
    what: str
    """What is counted."""
    before: int
    after: int
    erased_at: int
    """By the clock of the flow, Unix milliseconds."""
    note: str = ""
    """What could not be taken back, where anything is left."""
    signature: str | None = None
    """Ed25519 over the message without it, base64; None where no key is set."""
    version: int = 1
