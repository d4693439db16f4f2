"""Every topic: its name, its key, its message, who writes it, and how long it is kept. Plain data.

`recommendations` and `assignments` are compacted and deleted: a consumer rebuilds each user's newest slate,
and a tombstone erases it. Within the compaction lag every slate stays, for feedback to be matched with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

from models.config import MAX_WINDOW_S

Cleanup = Literal["delete", "compact", "compact,delete"]
Writer = Literal["platform", "recommend", "learn", "evaluate", "eddy"]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of the public contract, or one that only the flows use."""

    name: str
    key: str
    """What a message's key is."""
    value: str
    """Name of the message's type."""
    written_by: Writer
    cleanup: Cleanup
    config: Mapping[str, str] = field(default_factory=dict)
    """Kafka's topic settings beside `cleanup.policy`."""
    partitions: int | None = None
    """Fixed number of partitions; none: as many as the settings say."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", MappingProxyType(dict(self.config)))


def slate_config(attribution_window_s: int) -> dict[str, str]:
    """Keep every slate for twice the attribution window, and each user's newest for 30 days.

    An erased user's slates are gone a day after their compaction lag, since the broker may not wait longer.

    Parameters
    ----------
    attribution_window_s : how long after a slate feedback on it still counts, in seconds.
    """
    lag_ms = 2_000 * attribution_window_s
    return {
        "min.compaction.lag.ms": str(lag_ms),
        "max.compaction.lag.ms": str(lag_ms + DAY_MS),
        "retention.ms": str(max(30 * DAY_MS, lag_ms)),
    }


QUARTER = {"retention.ms": str(90 * DAY_MS)}
"""Longer than any other topic keeps what a person did, segments included: an erasure holds as long as it is kept."""
WEEK = {"retention.ms": str(7 * DAY_MS)}
MONTH = {"retention.ms": str(30 * DAY_MS)}

EVENTS = Topic("events", "user_id", "Event", "platform", "delete", WEEK)
REQUESTS = Topic("requests", "user_id", "Request", "platform", "delete", WEEK)
CATALOG = Topic("catalog", "item_id", "Item", "platform", "compact")
ERASURES = Topic("erasures", "user_id", "Erasure", "platform", "delete", QUARTER)
RECOMMENDATIONS = Topic(
    "recommendations", "user_id", "Slate", "recommend", "compact,delete", slate_config(MAX_WINDOW_S)
)
ASSIGNMENTS = Topic("assignments", "user_id", "Assignment", "recommend", "compact,delete", slate_config(MAX_WINDOW_S))
# A process reads all of it before its first slate: small segments are soon compacted, and it starts quickly.
MODEL_UPDATES = Topic(
    "model-updates",
    "table/name/row",
    "versioned row",
    "learn",
    "compact",
    {"segment.ms": str(HOUR_MS), "min.cleanable.dirty.ratio": "0.1"},
)
EXPERIMENT_RESULTS = Topic("experiment-results", "experiment", "ExperimentResult", "evaluate", "compact")
# Compacted as well, so that the letters of an erased user can be taken away.
DEAD_LETTERS = Topic("dead-letters", "topic/partition/offset", "DeadLetter", "eddy", "compact,delete", MONTH)
ERASURE_RECEIPTS = Topic(
    "erasure-receipts", "state key/place", "ErasureReceipt", "eddy", "compact", {"segment.ms": str(DAY_MS)}
)
# One partition, since every process of a cluster has to see the same stop.
CONTROL = Topic("control", "flow", "stop message", "eddy", "delete", {"retention.ms": str(HOUR_MS)}, partitions=1)

TOPICS = (
    EVENTS,
    REQUESTS,
    CATALOG,
    ERASURES,
    RECOMMENDATIONS,
    ASSIGNMENTS,
    MODEL_UPDATES,
    EXPERIMENT_RESULTS,
    DEAD_LETTERS,
    ERASURE_RECEIPTS,
    CONTROL,
)


NEWEST_COUNTS = (MODEL_UPDATES.name, EXPERIMENT_RESULTS.name)
"""Topics whose messages say how things stand: the newest of a key is all that counts. A flow that repeats itself may go
through other stages on the way, and has to write the last one again: else one of these would be the newest."""


def declare(prefix: str = "", attribution_window_s: int = MAX_WINDOW_S) -> tuple[Topic, ...]:
    """Return all topics as one installation has them.

    Parameters
    ----------
    prefix : put before every name; `shop-` makes `shop-events`.
    attribution_window_s : slates and assignments are kept uncompacted for longer than this.
    """
    slates = slate_config(attribution_window_s)
    return tuple(
        replace(
            topic,
            name=prefix + topic.name,
            config=slates if topic in (RECOMMENDATIONS, ASSIGNMENTS) else topic.config,
        )
        for topic in TOPICS
    )


class TopicsOf(NamedTuple):
    """What one process reads and writes, by the topics' names without a prefix."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]


FLOWS: Mapping[str, TopicsOf] = MappingProxyType(
    {
        "recommend": TopicsOf(
            ("events", "requests", "erasures", "catalog", "model-updates", "experiment-results", "control"),
            ("recommendations", "assignments", "erasure-receipts", "dead-letters", "control"),
        ),
        "learn": TopicsOf(
            ("events", "erasures", "catalog", "recommendations", "control"),
            ("model-updates", "erasure-receipts", "dead-letters", "control"),
        ),
        "evaluate": TopicsOf(
            ("events", "erasures", "recommendations", "assignments", "control"),
            ("experiment-results", "erasure-receipts", "dead-letters", "control"),
        ),
    }
)
"""By flow; `control` carries the stops of a cluster. A flow needs no other topic, and no right to any."""

DOOR = TopicsOf(
    ("recommendations", "catalog", "model-updates", "events", "dead-letters", "erasure-receipts", "experiment-results"),
    ("events", "requests", "catalog", "erasures", "model-updates"),
)
"""Of `eddy serve`; of `model-updates` it writes what operators say of rankers."""

FOLLOWER = TopicsOf(("events", "erasures", "catalog", "model-updates"), ("model-updates",))
"""Of `eddy models follow`."""


def declare_of(flow: str, prefix: str = "") -> tuple[Topic, ...]:
    """Return the topics that one flow touches."""
    names = {prefix + name for topics in FLOWS[flow] for name in topics}
    return tuple(topic for topic in declare(prefix) if topic.name in names)
