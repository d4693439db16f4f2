"""What a flow tells Prometheus: how long things take, how far behind it is, what it holds."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dataflows.store.files import size_of

SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SLATES = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0)

BUILD = "eddy_build_info"

Families = Callable[[], Iterable[Metric]]
"""Says how things stand when it is asked."""


class FlowMetrics:
    """The metrics of one process of one flow.

    Parameters
    ----------
    flow : its name, a label of each metric.
    counts : messages by what became of them; it goes on changing.
    """

    def __init__(self, flow: str, counts: Counter[str]) -> None:
        self._flow = flow
        self._counts = counts
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_Standing(self._count))
        self._gauge(BUILD, "Always 1; says which release runs.", "version").labels(flow, version("eddy-recs")).set(1)
        self.slate_seconds = self._histogram(
            "eddy_event_to_slate_seconds",
            "From the time of a trigger's record until its slate is handed to the writer.",
            SECONDS,
        )
        self.batch_seconds = self._histogram("eddy_batch_seconds", "To answer a batch of triggers.", SECONDS)
        self.batch_slates = self._histogram("eddy_batch_slates", "Slates that were made together.", SLATES)
        self.snapshot_seconds = self._histogram(
            "eddy_snapshot_seconds", "For which a snapshot kept the flow from its sources.", SECONDS
        )
        self._commits = Histogram(
            "eddy_commit_seconds",
            "To commit a transaction.",
            ["flow", "topic"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.users = self._gauge("eddy_users", "Users whose state this process holds.").labels(flow)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        made = Histogram(name, what, ["flow"], buckets=buckets, registry=self.registry)
        return made.labels(self._flow)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, ["flow", *labels], registry=self.registry)

    def _count(self) -> Iterator[Metric]:
        family = CounterMetricFamily("eddy_messages", "Messages by what became of them.", labels=["flow", "outcome"])
        for outcome, n in sorted(self._counts.items()):
            family.add_metric([self._flow, outcome], n)
        yield family

    def commits_of(self, topic: str) -> Callable[[float], object]:
        """Return what is told how many seconds each commit to a topic took."""
        observe: Callable[[float], object] = self._commits.labels(self._flow, topic).observe
        return observe

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Export a number that is looked up when somebody asks."""
        self._gauge(name, what).labels(self._flow).set_function(value)

    def watch_by(self, name: str, what: str, labels: tuple[str, ...], values: Callable[[], "Labelled"]) -> None:
        """Export numbers, by labels, that are looked up when somebody asks."""

        def families() -> Iterator[Metric]:
            family = GaugeMetricFamily(name, what, labels=["flow", *labels])
            for of, value in values():
                family.add_metric([self._flow, *of], value)
            yield family

        self.registry.register(_Standing(families))

    def watch_lag(self, behind: Callable[[], "Labelled"]) -> None:
        """Export how far behind its topics it is, by topic and partition."""
        self.watch_by(
            "eddy_lag",
            "Messages of a partition that are not read yet; of a topic written in transactions a marker counts too.",
            ("topic", "partition"),
            behind,
        )

    def watch_versions(self, versions: Callable[[], Iterable[tuple[str, str]]]) -> None:
        """Export which version of each ranker serves, by both their names."""
        self.watch_by(
            "eddy_ranker_info",
            "Always 1; says which version of each ranker serves.",
            ("ranker", "version"),
            lambda: [(served, 1.0) for served in versions()],
        )

    def watch_store(self, folder: Path) -> None:
        """Export how large a recovery store is."""
        self.watch("eddy_store_bytes", "Size of the recovery store's files.", lambda: float(size_of(folder)))


Labelled = Iterable[tuple[tuple[str, ...], float]]


class _Standing:
    """Asks how things stand at each scrape."""

    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def age_of(at_ms: int) -> float:
    """Return how many seconds ago a time was; 0 where it is ahead, or not known."""
    return max(0.0, time.time() - at_ms / 1_000) if at_ms > 0 else 0.0
