"""What is measured of a variant: each metric a ratio of two sums over its users."""

from typing import Literal, NamedTuple, get_args

from models.experiments.assign.declaration import LESS_IS_BETTER
from models.names import MetricName


class Metric(NamedTuple):
    """One metric."""

    name: MetricName
    per_user: bool
    """Whether the denominator counts each user once; else it is summed beside the numerator."""
    better: Literal[1, -1]
    """1 where more is good, -1 where less is."""
    what: str


METRICS = (
    Metric("ctr", False, 1, "shown items that were acted on within the attribution window, of all shown"),
    Metric("conversion", True, 1, "users who reached a goal, of all"),
    Metric("value", True, 1, "summed value of the goals reached, a user"),
    Metric("retention", True, 1, "users who came back a day or more later, of all"),
    Metric("activity", True, 1, "acts a user"),
    Metric("satisfaction", False, 1, "mean explicit rating"),
    Metric("hit_rate", False, 1, "slates that held what the user did next, of those followed by an act"),
    Metric("mrr", False, 1, "mean of 1 / its rank in the slate, 0 where it was not there"),
    Metric("ndcg", False, 1, "mean of 1 / log2(1 + its rank), 0 where it was not there"),
    Metric("novelty", False, 1, "mean over shown items of 1 - log(1 + decayed count) / 10"),
    Metric("latency_ms", False, -1, "from the event's record to its slate's"),
    Metric(
        "preference",
        True,
        1,
        "items acted on, those of the second variant less those of the first, in interleaved slates",
    ),
)

INDEX_OF: dict[MetricName, int] = {metric.name: index for index, metric in enumerate(METRICS)}

if {metric.name for metric in METRICS if metric.better < 0} != LESS_IS_BETTER:
    raise AssertionError("METRICS and LESS_IS_BETTER agree of which metrics less is good")
if tuple(INDEX_OF) != get_args(MetricName):
    raise AssertionError("METRICS and MetricName name the same metrics, in the same order")
