"""Joins each flow with Kafka as the settings say: the one place where graphs, topics and the broker meet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import torch
from bytewax.dataflow import Dataflow
from rich.console import Console

from dataflows import learn, recommend
from dataflows.codecs import catalog_decoder, encode, event_decoder
from dataflows.connectors.control import SharedStop
from dataflows.connectors.kafka_check import check_topics
from dataflows.connectors.kafka_sink import KafkaSink
from dataflows.connectors.kafka_source import KafkaSource
from dataflows.connectors.tables import KafkaTables
from dataflows.errors import EddyError
from dataflows.experiments import load_experiments
from dataflows.runtime import Health, Stop
from dataflows.settings import Settings
from dataflows.topics import declare
from models.experiments.assignment import Experiments
from models.items import ItemTable
from models.learning.warm_up import warm_up
from models.ranking.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from models.recommender import Recommender

FLOWS = ("recommend", "learn")


def now() -> datetime:
    """Read the wall clock."""
    return datetime.now(UTC)


@contextmanager
def on_kafka(flow: str, settings: Settings, stop: Stop, health: Health) -> Iterator[Dataflow]:
    """Lay out a flow over the cluster's topics; its helpers stop with the context.

    Raises
    ------
    EddyError : the broker, a topic, an experiment or the checkpoint is not what the flow needs.
    """
    client = settings.kafka.client()
    problems = check_topics(client, declare(settings.topics.prefix), 1)
    if serious := [problem.text for problem in problems if problem.severity == "error"]:
        raise EddyError("\n".join(serious))
    shared = None
    if len(settings.cluster.members) > 1:
        shared = SharedStop(client, f"{settings.topics.prefix}control", flow, stop.follow)
        stop.on_request.append(shared.announce)
    make = _recommend if flow == "recommend" else _learn
    try:
        with make(settings, stop, health) as dataflow:
            health.ready = True
            yield dataflow
    finally:
        health.ready = False
        if shared is not None:
            shared.close()


def _source(settings: Settings, topic: str, flow: str, stop: Callable[[], bool]) -> KafkaSource:
    return KafkaSource(
        settings.kafka.client() | settings.kafka.consumer_options,
        settings.topics.prefix + topic,
        f"eddy-{flow}",
        stop,
        start=settings.kafka.start,
        lost_offsets=settings.kafka.lost_offsets,
    )


def _sink(settings: Settings, topic: str, flow: str) -> KafkaSink:
    client = settings.kafka.client() | settings.kafka.producer_options
    prefix = settings.topics.prefix
    return KafkaSink(client, prefix + topic, f"{prefix}{flow}", settings.delivery, read_back=topic != "model-updates")


@contextmanager
def _recommend(settings: Settings, stop: Stop, health: Health) -> Iterator[Dataflow]:
    torch.set_num_threads(1)  # batches are small: a second thread costs more than it brings
    experiments = load_experiments(settings.experiments_file) if settings.experiments_file else Experiments()
    checkpoint = _checkpoint(settings)
    learning = settings.learn
    tables = KafkaTables(
        settings.kafka.client() | settings.kafka.consumer_options,
        f"{settings.topics.prefix}model-updates",
        f"{settings.topics.prefix}catalog",
        catalog_decoder(settings.events),
        ItemTable(
            int(now().timestamp() * 1_000),
            half_life_short_ms=1_000 * learning.half_life_short_s,
            half_life_long_ms=1_000 * learning.half_life_long_s,
        ),
        health.counts,
    )
    try:
        recommender = Recommender(tables.table, checkpoint, n_threads=settings.n_threads)
        with Console(stderr=True).status("loading the item tables and the kernels"):
            tables.load()
            recommender.warm_up()
        inputs = recommend.RecommendInputs(
            _source(settings, "events", "recommend", stop), _source(settings, "requests", "recommend", stop)
        )
        outputs = recommend.RecommendOutputs(
            _sink(settings, "recommendations", "recommend"),
            _sink(settings, "assignments", "recommend"),
            _sink(settings, "dead-letters", "recommend"),
        )
        try:
            yield recommend.build(inputs, outputs, settings, experiments, recommender, tables, now, health.counts)
        except ValueError as error:
            raise EddyError(str(error)) from error
    finally:
        tables.close()


def _checkpoint(settings: Settings) -> Checkpoint | None:
    if settings.checkpoint is None:
        return None
    try:
        return load_checkpoint(settings.checkpoint)
    except (OSError, CheckpointError) as error:
        raise EddyError(f"EDDY_CHECKPOINT: {error}") from error


@contextmanager
def _learn(settings: Settings, stop: Stop, health: Health) -> Iterator[Dataflow]:
    with Console(stderr=True).status("loading the kernels"):
        warm_up()
    inputs = learn.LearnInputs(_source(settings, "events", "learn", stop), _source(settings, "catalog", "learn", stop))
    outputs = learn.LearnOutputs(_sink(settings, "model-updates", "learn"), _sink(settings, "dead-letters", "learn"))
    codecs = learn.LearnCodecs(event_decoder(settings.events), catalog_decoder(settings.events), encode)
    yield learn.build(inputs, outputs, codecs, settings, now, health.counts)
