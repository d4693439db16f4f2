"""The flow that makes slates: events and requests in, recommendations and assignments out.

events ────► decode ─┬─► profile ─┬─► score ──► recommendations
requests ──► decode ─┤ (a user a  └─► assign ─► assignments
erasures ──► decode ─┘   key)  │
                └──────────────┴──────────────► dead-letters

An erasure drops its user's state, and leaves a tombstone on both topics that are keyed by user.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.codecs import erasure_decoder, event_decoder, request_decoder
from dataflows.following.tables import Tables
from dataflows.records import Outgoing, Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import by_user, decode, write_letters
from dataflows.steps.outputs import assign, score
from dataflows.steps.profile import profile, profile_step
from models.experiments.assign.assignment import Experiments
from models.serving.recommender import Recommender


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


def build(
    inputs: RecommendInputs,
    outputs: RecommendOutputs,
    settings: Settings,
    experiments: Experiments,
    recommender: Recommender,
    tables: Tables,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    clock : aware; no message may be ahead of it, and it decides when an idle user is forgotten.
    counts : applied, duplicate, late and bot events are added to it, by name.

    Raises
    ------
    ValueError : a strategy asks for a ranker that is not loaded.
    """
    for strategy in (settings.strategy, *(v.strategy for e in experiments.declared for v in e.variants)):
        recommender.require(strategy)
    step = profile_step(settings, experiments, tables.table, clock, counts)

    flow = Dataflow("recommend")

    events = op.input("events", flow, inputs.events)  # Record
    requests = op.input("requests", flow, inputs.requests)  # Record
    erasures = op.input("erasures", flow, inputs.erasures)  # Record
    decoded = op.merge(
        "received",
        decode("decode_events", events, event_decoder(settings.events, clock)),
        decode("decode_requests", requests, request_decoder(settings.events, clock)),
        decode("decode_erasures", erasures, erasure_decoder(settings.events, clock)),
    )  # (user, Received) | DeadLetter
    users = by_user("by_user", decoded)  # (user, Received)

    due = profile("profile", users, step)  # (user, Query | Assignment | DeadLetter | Erasure)

    slates = score("score", due, recommender, tables)  # (user, Outgoing)
    assigned = assign("assign", due)  # (user, Outgoing)
    unreadable = write_letters("write_letters", decoded)  # (letter key, Outgoing)
    late = write_letters("write_late", op.key_rm("late", due))  # (letter key, Outgoing)

    op.output("recommendations", slates, outputs.recommendations)
    op.output("assignments", assigned, outputs.assignments)
    op.output("dead_letters", op.merge("letters", unreadable, late), outputs.dead_letters)
    return flow
