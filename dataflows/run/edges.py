"""Where a flow's topics are: on a cluster, or in a folder of files. Both give the same sources, sinks and tables."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Protocol

from dataflows.codecs import catalog_decoder, erasure_decoder, latest_row
from dataflows.errors import EddyError
from dataflows.files.sink import FileSink
from dataflows.files.source import FileSource, read_whole
from dataflows.following.erasures import Erasures, followed_erasures
from dataflows.following.results import followed, take_results
from dataflows.following.tables import FileTables, KafkaTables, Tables
from dataflows.kafka.check import check_topics
from dataflows.kafka.control import Cluster
from dataflows.kafka.rights import helper_group, source_group
from dataflows.kafka.shared_consumer import SharedConsumer
from dataflows.kafka.sink import KafkaSink
from dataflows.kafka.source import KafkaSource
from dataflows.kafka.watch import TopicWatch
from dataflows.run.fingerprint import fingerprints
from dataflows.run.metrics import FlowMetrics
from dataflows.run.settings import Settings
from dataflows.run.stopping import Stop
from dataflows.topics import NEWEST_COUNTS, declare_of
from models.experiments.assign.traffic import Traffic
from models.items import ItemTable


class LoadableTables(Tables, Protocol):
    """Tables that are filled before the first slate."""

    def load(self) -> object:
        """Apply all that there is now."""

    def close(self) -> None:
        """Stop following."""


class Edges(Protocol):
    """What joins a flow's graph with its topics; names are those of `dataflows.topics`, without the prefix."""

    where: str
    """The cluster's or the folder's name, for messages."""

    def source(self, topic: str) -> KafkaSource | FileSource:
        """Read a topic."""

    def sink(self, topic: str) -> KafkaSink | FileSink:
        """Write a topic."""

    def tables(self, table: ItemTable, counts: Counter[str]) -> LoadableTables:
        """Keep an item table current."""

    def results(self, traffic: Traffic, counts: Counter[str]) -> AbstractContextManager[None]:
        """Keep the shares of the traffic current, where any may move."""

    def follow(self, erasures: Erasures) -> AbstractContextManager[None]:
        """Know who is erased before the first message is read, and from then on."""

    def while_idle(self, work: Callable[[], None]) -> None:
        """Do a little again and again while nothing arrives."""

    def n_behind(self) -> float:
        """Count the messages of all topics that this process has not read yet."""

    def close(self) -> None:
        """Stop what runs beside the flow."""


def open_edges(flow: str, settings: Settings, stop: Stop, metrics: FlowMetrics) -> Edges:
    """Choose between cluster and files, as the settings say.

    Raises
    ------
    EddyError : the broker or a topic is not what the flow needs.
    """
    return FileEdges(flow, settings, stop) if settings.topics.folder else KafkaEdges(flow, settings, stop, metrics)


class KafkaEdges:
    """Topics on a cluster.

    Raises
    ------
    EddyError : the broker does not answer, or a topic is missing or wrong.
    """

    def __init__(self, flow: str, settings: Settings, stop: Stop, metrics: FlowMetrics) -> None:
        self._flow = flow
        self._settings = settings
        self._stop = stop
        self._metrics = metrics
        self._prefix = settings.topics.prefix
        self._client = settings.kafka.client()
        self.where = settings.kafka.bootstrap_servers
        problems = check_topics(self._client, declare_of(flow, self._prefix), 1)
        if serious := [problem.text for problem in problems if problem.severity == "error"]:
            raise EddyError("\n".join(serious))
        self._consumer = SharedConsumer(
            self._client | settings.kafka.consumer_options, source_group(flow, self._prefix)
        )
        metrics.watch_lag(self._consumer.behind)
        self._watch = TopicWatch(self._client, stop.fail)
        self._watch.start()
        self._cluster: Cluster | None = None
        if len(settings.cluster.members) > 1:
            self._cluster = Cluster(
                self._client,
                f"{self._prefix}control",
                flow,
                helper_group(flow, self._prefix, "control"),
                (settings.cluster.addresses, settings.cluster.process_id),
                fingerprints(settings),
                stop.follow,
                stop.fail,
            )
            stop.on_request.append(self._cluster.announce)

    def source(self, topic: str) -> KafkaSource:
        """Read a topic's partitions, from the recovery store's offsets on."""
        kafka = self._settings.kafka
        return KafkaSource(
            self._client,
            self._watched(topic),
            self._consumer,
            self._stop,
            after_epoch=lambda: self._stop.after_epoch,
            before_snapshot=self._stop.before_snapshot,
            start=kafka.start,
            lost_offsets=kafka.lost_offsets,
        )

    def sink(self, topic: str) -> KafkaSink:
        """Write a topic's partitions, one fenced writer each."""
        return KafkaSink(
            self._client,
            self._watched(topic),
            f"{self._prefix}{self._flow}",
            self._settings.delivery,
            read_back=topic not in NEWEST_COUNTS,
            process=self._settings.cluster.process,
            n_processes=self._settings.cluster.n_processes,
            producer=self._settings.kafka.producer_options,
            on_commit=self._metrics.commits_of(topic),
            before_open=self._stop.check_owner,
        )

    def tables(self, table: ItemTable, counts: Counter[str]) -> KafkaTables:
        """Follow `model-updates` and `catalog`."""
        return KafkaTables(
            self._client | self._settings.kafka.consumer_options,
            self._watched("model-updates"),
            self._watched("catalog"),
            helper_group(self._flow, self._prefix, "tables"),
            catalog_decoder(self._settings.events),
            table,
            counts,
            latest_row(self._settings.events),
            self._stop.fail,
        )

    def results(self, traffic: Traffic, counts: Counter[str]) -> AbstractContextManager[None]:
        """Follow `experiment-results`."""
        if not traffic.may_move:
            return nullcontext()
        client = self._client | self._settings.kafka.consumer_options
        group, latest = helper_group(self._flow, self._prefix, "results"), latest_row(self._settings.events)
        return followed(client, self._watched("experiment-results"), group, traffic, counts, latest, self._stop.fail)

    def _watched(self, topic: str) -> str:
        """Name a topic on the cluster, and look from now on whether it stays the same."""
        name = self._prefix + topic
        self._watch.add(name)
        return name

    def follow(self, erasures: Erasures) -> AbstractContextManager[None]:
        """Follow `erasures`."""
        client = self._client | self._settings.kafka.consumer_options
        group = helper_group(self._flow, self._prefix, "erasures")
        return followed_erasures(
            client, self._watched("erasures"), group, erasure_decoder(self._settings.events), erasures, self._stop.fail
        )

    def while_idle(self, work: Callable[[], None]) -> None:
        """Call it where a partition has nothing new."""
        self._consumer.while_idle.append(work)

    def n_behind(self) -> float:
        """Count what the client knows to be unread."""
        return sum(n for _, n in self._consumer.behind())

    def close(self) -> None:
        """Stop looking at topics, and listening to other processes."""
        self._watch.close()
        if self._cluster is not None:
            self._cluster.close()


class FileEdges:
    """Topics in a folder of JSON-lines files: read to their end, and written over by a flow without a snapshot."""

    def __init__(self, flow: str, settings: Settings, stop: Stop) -> None:
        folder = settings.topics.folder
        assert folder is not None  # noqa: S101 - else these are not the edges
        self._flow = flow
        self._settings = settings
        self._stop = stop
        self._folder = folder
        self._prefix = settings.topics.prefix
        self.where = str(folder)

    def source(self, topic: str) -> FileSource:
        """Read a topic to its end; only `events` has to be there."""
        name, stop = self._prefix + topic, self._stop
        return FileSource(self._folder, name, stop, stop.before_snapshot, optional=topic != "events")

    def sink(self, topic: str) -> FileSink:
        """Write a topic; each flow has files of its own where all of them write, since it cuts back what it wrote."""
        name = f"{topic}/{self._flow}" if topic in {"dead-letters", "erasure-receipts"} else topic
        return FileSink(self._folder, self._prefix + name, packed=topic == "model-updates")

    def tables(self, table: ItemTable, counts: Counter[str]) -> FileTables:
        """Load `catalog` and `model-updates` as they are now."""
        events = self._settings.events
        rows = FileSource(self._folder, f"{self._prefix}model-updates", optional=True, packed=True)
        catalog = FileSource(self._folder, f"{self._prefix}catalog", optional=True)
        return FileTables(rows, catalog, catalog_decoder(events), table, counts, latest_row(events))

    def results(self, traffic: Traffic, counts: Counter[str]) -> AbstractContextManager[None]:
        """Take in `experiment-results` as they are now."""
        results = FileSource(self._folder, f"{self._prefix}experiment-results", optional=True)
        take_results(chain.from_iterable(read_whole(results)), traffic, counts, latest_row(self._settings.events))
        return nullcontext()

    def follow(self, erasures: Erasures) -> AbstractContextManager[None]:
        """Take in `erasures` as they are now."""
        decode = erasure_decoder(self._settings.events)
        for records in read_whole(FileSource(self._folder, f"{self._prefix}erasures", optional=True)):
            erasures.take(decode(records))
        return nullcontext()

    def while_idle(self, work: Callable[[], None]) -> None:
        """Leave it: files have no pauses."""

    def n_behind(self) -> float:
        """Return 0: files have no more than what is being read."""
        return 0

    def close(self) -> None:
        """Nothing runs beside the flow."""
