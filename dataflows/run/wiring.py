"""Joins each flow with its topics as the settings say: the one place where graphs, topics and helpers meet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
from bytewax.dataflow import Dataflow
from rich.console import Console

from dataflows import evaluate, learn, recommend
from dataflows.codecs import event_time
from dataflows.errors import EddyError
from dataflows.following.erasures import Erasures
from dataflows.plausible import in_ms, now
from dataflows.run.aligned import AlignedSource, Alignment
from dataflows.run.edges import Edges, open_edges
from dataflows.run.metrics import FlowMetrics, age_of
from dataflows.run.resources import (
    checked_device,
    declared_experiments,
    loaded_checkpoint,
    receipt_signer,
    sequence_encoder,
    starting_checkpoint,
    state_keys,
    text_space,
)
from dataflows.run.runtime import Health
from dataflows.run.settings import Settings
from dataflows.run.stopping import Stop
from dataflows.run.tracing import open_tracer
from dataflows.run.wording import chosen_phrases
from dataflows.steps.outputs import follow_versions
from dataflows.steps.rest import FindRested, Resting
from dataflows.store.rested import look_up
from models.counts import item_statistics, pairs, trending
from models.items import ItemTable
from models.items import warm_up as items
from models.names import SEQUENCE
from models.serving.recommender import Recommender
from models.user import warm_up as user

CAUGHT_UP = 10_000
"""Messages that may wait where a flow has read what there is: those of some seconds."""


@contextmanager
def open_flow(
    flow: str, settings: Settings, stop: Stop, health: Health, store: Path | None = None
) -> Iterator[Dataflow]:
    """Lay out a flow, `recommend`, `learn` or `evaluate`, over its topics; its helpers stop with the context.

    Parameters
    ----------
    store : folder of the flow's recovery store, which says who has rested.

    Raises
    ------
    EddyError : the broker, a topic, an experiment or the checkpoint is not what the flow needs.
    """
    if settings.topics.folder is not None:
        # A line of a file has no key, and the file keeps the order.
        settings = settings.model_copy(update={"events": replace(settings.events, keys="any")})
    edges = open_edges(flow, settings, stop, health.metrics)
    make = {"recommend": _recommend, "learn": _learn, "evaluate": _evaluate}[flow]
    try:
        erased = Erasures(state_keys(settings), health.counts, settings.privacy.max_erased)
        with (
            open_tracer(flow) as health.tracer,
            edges.follow(erased),
            make(edges, settings, health, erased, _find_rested(store, settings, edges)) as dataflow,
        ):
            health.erased = erased
            yield dataflow
    finally:
        health.ready = False
        edges.close()


def _find_rested(store: Path | None, settings: Settings, edges: Edges) -> FindRested | None:
    """Look in a store, which is process 0's alone, for who has rested."""
    if store is None:
        return None
    is_ours = settings.cluster.process == 0

    def find(step_id: str, after: timedelta) -> Resting:
        def look(before_ms: int) -> Iterator[list[tuple[str, int]]]:
            return look_up(store, step_id, before_ms) if is_ours else iter(())

        return Resting(look, after, now, lambda: edges.n_behind() < CAUGHT_UP)

    return find


@contextmanager
def _recommend(
    edges: Edges, settings: Settings, health: Health, erased: Erasures, find_rested: FindRested | None
) -> Iterator[Dataflow]:
    torch.set_num_threads(1)  # batches are small: a second thread costs more than it brings
    experiments = declared_experiments(settings)
    signer = receipt_signer(settings)
    checkpoint = loaded_checkpoint(settings)
    learning = settings.learn
    table = ItemTable(
        in_ms(now()),
        half_life_short_ms=learning.half_life_short_ms,
        half_life_long_ms=learning.half_life_long_ms,
        texts=text_space(learning),
        run=lambda work: threading.Thread(target=work, name="inverted file", daemon=True).start(),
    )
    table.read_with(sequence_encoder(settings))
    tables = edges.tables(table, health.counts)
    try:
        recommender = Recommender(
            table,
            checkpoint,
            n_threads=settings.n_threads,
            awaited=settings.learned_rankers,
            device=checked_device(settings),
            phrases=chosen_phrases(settings),
            log_features=settings.logs_features,
        )
        with Console(stderr=True).status("loading the item tables and the kernels"):
            items.warm_up()
            user.warm_up()
            tables.load()
            follow_versions(recommender, tables)
            table.learn_some(table.n)
            recommender.warm_up()
        inputs = recommend.RecommendInputs(edges.source("events"), edges.source("requests"), edges.source("erasures"))
        outputs = recommend.RecommendOutputs(
            *map(edges.sink, ("recommendations", "assignments", "dead-letters", "erasure-receipts"))
        )
        _watch_tables(health.metrics, table, recommender)
        try:
            flow = recommend.build(
                inputs, outputs, settings, experiments, recommender, tables, now, health.counts, erased, signer,
                health.metrics, health.tracer, find_rested, edges.while_idle,
            )  # fmt: skip
        except ValueError as error:
            raise EddyError(str(error)) from error
        with edges.results(experiments.traffic, health.counts):
            yield flow
    finally:
        tables.close()


def _watch_tables(metrics: FlowMetrics, table: ItemTable, recommender: Recommender) -> None:
    """Export what slates are made of."""
    metrics.watch("eddy_table_items", "Items in the item table.", lambda: float(table.n))
    metrics.watch(
        "eddy_table_age_seconds",
        "Since the newest event that the item tables have learned; 0 before the first.",
        lambda: age_of(table.learned_until),
    )
    metrics.watch_versions(lambda: [*recommender.versions().items(), *_sequence_version(table)])


def _sequence_version(table: ItemTable) -> list[tuple[str, str]]:
    return [(SEQUENCE, table.learned.encoder.version)] if table.learned is not None else []


@contextmanager
def _learn(
    edges: Edges, settings: Settings, health: Health, erased: Erasures, find_rested: FindRested | None
) -> Iterator[Dataflow]:
    with Console(stderr=True).status("loading the kernels"):
        pairs.warm_up()
        item_statistics.warm_up()
        trending.warm_up()
    torch.set_num_threads(1)
    inputs = learn.LearnInputs(*map(edges.source, ("events", "catalog", "recommendations", "erasures")))
    outputs = learn.LearnOutputs(*map(edges.sink, ("model-updates", "dead-letters", "erasure-receipts")))
    checked_device(settings)
    yield learn.build(
        inputs, outputs, settings, now, health.counts, starting_checkpoint(settings), erased, receipt_signer(settings),
        health.tracer, find_rested,
    )  # fmt: skip


@contextmanager
def _evaluate(
    edges: Edges, settings: Settings, health: Health, erased: Erasures, find_rested: FindRested | None
) -> Iterator[Dataflow]:
    if not settings.has_experiments:
        raise EddyError(
            "evaluate has nothing to judge: declare experiments in eddy.yaml, or name a file of them in "
            "EDDY_EXPERIMENTS_FILE"
        )
    experiments = declared_experiments(settings)
    alignment = Alignment(1_000 * settings.evaluate.alignment_s)
    events, slates, assignments = (
        AlignedSource(topic, edges.source(topic), alignment, event_time, leads=topic == "assignments")
        for topic in ("events", "recommendations", "assignments")
    )
    inputs = evaluate.EvaluateInputs(events, slates, assignments, edges.source("erasures"))
    outputs = evaluate.EvaluateOutputs(*map(edges.sink, ("experiment-results", "dead-letters", "erasure-receipts")))
    signer = receipt_signer(settings)
    yield evaluate.build(
        inputs, outputs, settings, experiments, now, health.counts, erased, signer, health.tracer, find_rested
    )
