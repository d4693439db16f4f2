"""The steps that write what is due for users: slates, assignments, and tombstones after an erasure."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.codecs import encode
from dataflows.following.rows import NewVersion
from dataflows.following.tables import Tables
from dataflows.records import Outgoing
from dataflows.run.metrics import FlowMetrics
from dataflows.run.tracing import traced
from dataflows.steps.profile import Output
from models.items import ItemTable
from models.messages import Assignment, Erasure
from models.names import SEQUENCE
from models.numeric.ids import hash64
from models.sequence.checkpoint import SequenceCheckpoint
from models.serving.recommender import Recommender
from models.user.query import Query

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


def score(
    step_id: str,
    due: KeyedStream[Output],
    recommender: Recommender,
    tables: Tables,
    metrics: FlowMetrics,
    tracer: "Tracer | None" = None,
) -> KeyedStream[Outgoing]:
    """Answer a batch of queries, of many users at once, with one slate each: (user_id, Outgoing).

    Item tables and rankers change between two batches, never within one. State goes by state keys, messages by users.

    Parameters
    ----------
    metrics : told how long a batch took, and how long ago each trigger was written.
    tracer : gives each batch a span; none: nobody asks for traces.
    """

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        tables.refresh()
        follow_versions(recommender, tables)
        recommender.table_version = tables.version
        queries = []
        for state_key, query in batch:
            if isinstance(query, Query):
                query.user = hash64(state_key)
                queries.append(query)
        began_at = time.perf_counter()
        slates = iter(recommender.recommend(queries))
        outgoing = []
        # In the batch's own order: a user's slates from before an erasure lie before its tombstone.
        for _, output in batch:
            if isinstance(output, Query):
                slate = next(slates)
                outgoing.append((slate.user_id, Outgoing(slate.user_id, slate.recommendation_id, encode(slate))))
            elif isinstance(output, Erasure):
                outgoing.append((output.user_id, _tombstone(output)))
        if queries:
            _observe(queries, time.perf_counter() - began_at, metrics)
        return outgoing

    return op.flat_map_batch(step_id, due, traced("score", mapper, _slates_of, tracer))


def _slates_of(outgoing: list[tuple[str, Outgoing]]) -> dict[str, int]:
    """Count what came of a batch."""
    slates = sum(message.value is not None for _, message in outgoing)
    return {"slates": slates, "tombstones": len(outgoing) - slates}


def _observe(queries: list[Query], seconds: float, metrics: FlowMetrics) -> None:
    metrics.batch_seconds.observe(seconds)
    metrics.batch_slates.observe(len(queries))
    now_ms = time.time() * 1_000
    for query in queries:
        if query.written_at:
            metrics.slate_seconds.observe(max(0.0, now_ms - query.written_at) / 1_000)


def follow_versions(recommender: Recommender, tables: Tables) -> None:
    """Put the versions that have come into service; a sequence model, once it has vectors of all items."""
    put_versions(recommender, tables.table, tables.take_versions())
    tables.table.learn_some()


def put_versions(recommender: Recommender, table: ItemTable, versions: Iterable[NewVersion]) -> None:
    """Give rankers to the recommender, and to the table the sequence model that it makes vectors by."""
    for name, checkpoint in versions:
        if isinstance(checkpoint, SequenceCheckpoint):
            table.read_next_with(checkpoint.encoder())
        elif name == SEQUENCE:
            table.read_with(None)
        else:
            recommender.swap(name, checkpoint)


def assign(step_id: str, due: KeyedStream[Output]) -> KeyedStream[Outgoing]:
    """Write A/B assignments, once a user and declaration: (user_id, Outgoing)."""

    def mapper(batch: list[tuple[str, Output]]) -> list[tuple[str, Outgoing]]:
        outgoing = []
        for _, output in batch:
            if isinstance(output, Assignment):
                user_id = output.user_id
                record_id = f"{user_id}/{output.experiment}/{output.digest}"
                outgoing.append((user_id, Outgoing(user_id, record_id, encode(output))))
            elif isinstance(output, Erasure):
                outgoing.append((output.user_id, _tombstone(output)))
        return outgoing

    return op.flat_map_batch(step_id, due, mapper)


def _tombstone(erasure: Erasure) -> Outgoing:
    """Return the message without a value that lets compaction remove the user's others."""
    return Outgoing(erasure.user_id, f"erased/{erasure.user_id}/{erasure.erasure_id}", None)
