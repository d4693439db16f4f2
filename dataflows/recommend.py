"""The flow that makes slates: events and requests in, recommendations and assignments out.

events ────► decode ─┬─► profile ─┬─► score ──► recommendations
requests ──► decode ─┤ (a user a  └─► assign ─► assignments
erasures ──► decode ─┘   key)  ├──────────────► erasure-receipts
                └──────────────┴──────────────► dead-letters

An erasure drops its user's state, leaves a tombstone on both topics that are keyed by user, and a receipt. State goes
by state keys (`models.pseudonyms`); the user's id travels only in messages.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.codecs import erasure_decoder, event_decoder, request_decoder
from dataflows.following.erasures import Erasures
from dataflows.following.tables import Tables
from dataflows.receipts import Signer
from dataflows.records import Outgoing, Record
from dataflows.run.metrics import FlowMetrics
from dataflows.run.settings import Settings
from dataflows.run.tracing import read_or_refused, traced
from dataflows.steps.decode import by_user, decode, write_letters
from dataflows.steps.outputs import assign, score
from dataflows.steps.profile import profile, profile_step
from dataflows.steps.receipts import write_receipts
from dataflows.steps.rest import FindRested
from models.experiments.assign.assignment import Experiments
from models.serving.recommender import Recommender

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@dataclass(frozen=True, slots=True)
class RecommendInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    requests: Source[Record]
    erasures: Source[Record]


@dataclass(frozen=True, slots=True)
class RecommendOutputs:
    """Where the flow writes; every sink takes `(key, Outgoing)`."""

    recommendations: Sink[tuple[str, Outgoing]]
    assignments: Sink[tuple[str, Outgoing]]
    dead_letters: Sink[tuple[str, Outgoing]]
    erasure_receipts: Sink[tuple[str, Outgoing]]


def build(
    inputs: RecommendInputs,
    outputs: RecommendOutputs,
    settings: Settings,
    experiments: Experiments,
    recommender: Recommender,
    tables: Tables,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erased: Erasures | None = None,
    signer: Signer | None = None,
    metrics: FlowMetrics | None = None,
    tracer: "Tracer | None" = None,
    find_rested: FindRested | None = None,
    while_idle: Callable[[Callable[[], None]], None] | None = None,
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    clock : aware; no message may be ahead of it, and it decides when an idle user is forgotten.
    counts : applied, duplicate, late and bot events are added to it, by name.
    erased : who is erased already; none: nobody, and users' ids are their state keys.
    signer : signs the receipts of erasures; none: nobody.
    metrics : what Prometheus is told; none: nobody asks.
    tracer : gives batches spans; none: nobody asks for traces.
    find_rested : finds users who are to be forgotten; none: the engine wakes each of them.
    while_idle : takes what is to be called while nothing arrives; none: there are no pauses.

    Raises
    ------
    ValueError : a strategy asks for a ranker that is not loaded, or has a share for cold items, which never graduate.
    """
    placed = [placement.strategy for placement in settings.placements.values()]
    for strategy in (settings.strategy, *placed, *(v.strategy for e in experiments.declared for v in e.variants)):
        recommender.require(strategy)
        if strategy.cold_share and not settings.learn.graduates_after:
            raise ValueError(
                "a strategy has a `cold_share`, but nobody counts how often items were shown, so none would ever "
                "graduate: set EDDY_LEARN__GRADUATES_AFTER, for `learn` and `recommend`"
            )
    erased = erased or Erasures()
    metrics = metrics or FlowMetrics("recommend", counts)
    is_swept = find_rested is not None
    step = profile_step(settings, experiments, tables.table, clock, counts, erased, metrics.users, is_swept=is_swept)
    resting = find_rested("recommend.profile", step.rest) if find_rested else None
    if while_idle is not None:
        while_idle(step.awake.pack_one)

    flow = Dataflow("recommend")

    events = op.input("events", flow, inputs.events)  # Record
    requests = op.input("requests", flow, inputs.requests)  # Record
    erasures = op.input("erasures", flow, inputs.erasures)  # Record
    decoded = op.merge(
        "received",
        decode(
            "decode_events",
            events,
            traced("decode events", event_decoder(settings.events, clock), read_or_refused, tracer),
            erased,
        ),
        decode("decode_requests", requests, request_decoder(settings.events, clock, settings.placements), erased),
        decode("decode_erasures", erasures, erasure_decoder(settings.events, clock), erased),
    )  # (state key, Received) | DeadLetter
    users = by_user("by_user", decoded, resting)  # (state key, Received | Rested)

    due = profile("profile", users, step)  # (state key, Query | Assignment | DeadLetter | Erasure | ErasureReceipt)

    slates = score("score", due, recommender, tables, metrics, tracer)  # (user, Outgoing)
    assigned = assign("assign", due)  # (user, Outgoing)
    unreadable = write_letters("write_letters", decoded)  # (letter key, Outgoing)
    late = write_letters("write_late", op.key_rm("late", due))  # (letter key, Outgoing)
    receipts = write_receipts("write_receipts", due, signer or Signer())  # (receipt key, Outgoing)

    op.output("recommendations", slates, outputs.recommendations)
    op.output("assignments", assigned, outputs.assignments)
    op.output("dead_letters", op.merge("letters", unreadable, late), outputs.dead_letters)
    op.output("erasure_receipts", receipts, outputs.erasure_receipts)
    return flow
