"""Every list of names, once: event types, candidate sources, features and rankers. It imports nothing heavy.

A name is part of the public contract: it stands in settings, on slates and in checkpoints. Its meaning never changes;
what would mean something else needs another name.
"""

from typing import Literal, TypeAlias, get_args

EVENT_WEIGHTS: dict[str, float] = {
    "impression": 0.0, "view": 1.0, "click": 1.0, "dwell": 0.5, "like": 2.0, "share": 2.0,
    "rating": 1.0, "cart": 3.0, "purchase": 5.0, "dislike": -1.0,
}  # fmt: skip
"""Weight of each event type by default, below 0 for a dislike; a type that is not named has 0."""
OWNING_TYPES = frozenset({"purchase"})
"""Event types after which the user has the item, by default."""

SourceName: TypeAlias = Literal[
    "sequential_rules",
    "covisitation",
    "trending",
    "content",
    "session_knn",
    "two_step_rules",
    "revisits",
    "habits",
    "sequence",
]
SOURCES: tuple[SourceName, ...] = get_args(SourceName)
"""The order of the candidate sources in every array with one column a source."""
SEQUENCE: Literal["sequence"] = "sequence"
"""The source that proposes by a sequence model, and the name of that model's versions."""

ReasonCode: TypeAlias = Literal[
    "others_went_on",
    "often_next",
    "often_soon",
    "goes_with",
    "often_later",
    "known",
    "follows",
    "taste",
    "search",
    "trending",
    "exploration",
    "given",
]
"""Why an item is on a slate: others went from an item on to it; it often comes next after one, or soon after; it goes
with one; people often come to it another time; the user knows it; it goes on from what the user did last; it has what
the user likes; it matches the search; it trends; it was drawn; it is one of those that were to be ranked."""
REASON_CODES: tuple[ReasonCode, ...] = get_args(ReasonCode)
LanguageName: TypeAlias = Literal["en", "de", "zh"]
"""Languages that this release has words for reasons in."""

NetworkName: TypeAlias = Literal["linear", "mlp", "neumf", "gru"]
"""Rankers that are a PyTorch network."""
LearnerName: TypeAlias = Literal["ftrl", NetworkName]
"""Rankers that learn."""
StageName: TypeAlias = Literal["click", "cart", "purchase"]
"""How far a user went with an item: any act, putting it aside to have it, having it."""
STAGES: tuple[StageName, ...] = get_args(StageName)
FunnelName: TypeAlias = Literal["funnel"]
FUNNEL: FunnelName = "funnel"
"""The network that says how probable each stage is; as a ranker, it orders by what an item is worth."""
RankerName: TypeAlias = Literal["blend", LearnerName, FunnelName]
"""`blend` keeps the order of the weighted sources."""
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)
LEARNERS: tuple[LearnerName, ...] = get_args(LearnerName)
RANKERS: tuple[RankerName, ...] = get_args(RankerName)
Loss: TypeAlias = Literal["softmax", "cross_entropy", "mse"]
"""What a network is trained by; `models.rankers.losses` has the formulae."""
LOSSES: tuple[Loss, ...] = get_args(Loss)
FineTune: TypeAlias = Literal["all", "adapter"]
"""What changes of a trained network: all its weights, or a small correction beside them."""

DEFAULT_PLACEMENT = "default"
"""The placement of slates for which nobody names one."""

LOCATION_FIELDS = ("latitude", "longitude")
"""Fields of a context, in degrees, by which a query says where it is; `models.locations` takes them out of it."""

FEATURE_SET = "v4"
"""The name of the list FEATURES, as slates carry it; another list needs another name."""

BLEND_FEATURES = (
    *SOURCES,  # each source's score over the query's largest
    *(f"{source}_rank" for source in SOURCES),  # 1 / rank in the source's list
    "blend",  # the weighted mean of the sources' scores
)
ITEM_FEATURES = (
    "popularity_short",  # log(1 + decayed count at the query's moment) / 10, short half-life
    "popularity_long",  # the same, long half-life
    "popularity_trend",  # (short-term rate - long-term rate) / (their sum + one event a long half-life), in [-1, 1]
    "age",  # log(1 + days since the item appeared) / 10; 0 unknown
    "is_new",  # 1: nobody has acted on it, only the catalog knows it
    "price_ratio",  # log2(price / the user's mean price) / 4, in [-1, 1]; 0 unknown
)
"""Of the candidate by itself: popularity, age, price."""
HISTORY_FEATURES = (
    "similarity",  # cosine of the item's content and the sum of the last 15 items' contents
    "n_seen",  # log(1 + times among the recent items) / 10
    "n_impressions",  # log(1 + decayed impressions without a reaction) / 10
)
"""Of the candidate beside the user's recent items."""
SESSION_FEATURES = (
    "rule_from_last",  # share of the last item's rules that lead to the candidate
    "rule_from_second",  # the same of the item before it
    "covisit_with_last",  # visits of both / sqrt((visits of one + 5) * (visits of the other + 5)), at most 1
    "covisit_with_second",
    "back",  # 1 / steps back at which the candidate was met last in the session; 0 never
    "n_in_session",  # log(1 + times in the session) / 10
    "is_current",  # 1: the user is on it
    "n_distinct",  # log(1 + different items of the session) / 10, the same for each candidate
)
"""Of the candidate beside the running session."""
TASTE_FEATURES = (
    "interest_short",  # share of the user's short-term interest in the item's attributes, in [-1, 1]
    "interest_long",  # the same for the long-term interest
    "preference",  # x / (1 + |x|), x the sum of the user's own learner's weights over the item's attributes
)
"""Of the candidate beside the user's interests."""
SIGNALS = (
    "session_length",
    "n_events",
    "drift",
    "n_last_5_min",
    "n_last_hour",
    "idle",
    "pause",
    "hour_sin",
    "hour_cos",
    "is_mobile",
    "is_request",
    "is_search",
)
"""Of the user and the moment, the same for each of the candidates: counts and minutes as log(1 + x) / 10."""
FEATURES: tuple[str, ...] = (
    *BLEND_FEATURES, *ITEM_FEATURES, *HISTORY_FEATURES, *SESSION_FEATURES, *TASTE_FEATURES, *SIGNALS
)  # fmt: skip
"""All that a ranker may look at of one candidate, in the order of the columns; logged on slates."""
FEATURE_SETS: dict[str, tuple[str, ...]] = {
    "v3": tuple(name for name in FEATURES if name not in {"habits", "habits_rank", "sequence", "sequence_rank"}),
    FEATURE_SET: FEATURES,
}
"""The columns of each feature set. Those of earlier releases stay, so that a ranker which learned from them goes on.

Who adds a feature gives FEATURE_SET another name, and keeps the one before it as a line here, without the new feature.
"""

MetricName: TypeAlias = Literal[
    "ctr",
    "conversion",
    "value",
    "retention",
    "activity",
    "satisfaction",
    "hit_rate",
    "mrr",
    "ndcg",
    "novelty",
    "latency_ms",
    "preference",
]
"""What experiments measure; `models.experiments.judge.metrics` says how. State goes by their order: add at the end."""
