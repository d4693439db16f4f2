"""The flow that says what works: what users did with what they were shown, by experiment and variant.

    events ──────────► observe ─┐
    recommendations ─► observe ─┼─► outcomes ──► add up ──► tally ──► experiment-results
    assignments ─────► observe ─┘  (a user a    (a batch)  (an experiment
    erasures ────────► decode ──┘     key)                    a key)
                          │             └───────────────────────────► erasure-receipts
                          └─────────────────────────────────────────► dead-letters

The topics are read side by side, and no more than some seconds of event time apart; what remains of disorder each
user's state puts right. What comes too late even so is counted.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.codecs import erasure_decoder, event_decoder, plausible
from dataflows.following.erasures import Erasures
from dataflows.receipts import Signer
from dataflows.records import Outgoing, Record
from dataflows.run.settings import Settings
from dataflows.run.tracing import read_or_refused, traced
from dataflows.steps.decode import by_user, write_letters
from dataflows.steps.observe import decode_assignments, observe_events, observe_slates
from dataflows.steps.receipts import read_erasures, write_receipts
from dataflows.steps.rest import FindRested
from dataflows.steps.tally import TallyConfig, add_up_by_experiment, tally
from dataflows.steps.user_metrics import measure_users
from models.experiments.assign.assignment import Experiments

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@dataclass(frozen=True, slots=True)
class EvaluateInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    recommendations: Source[Record]
    assignments: Source[Record]
    erasures: Source[Record]


@dataclass(frozen=True, slots=True)
class EvaluateOutputs:
    """Where the flow writes; every sink takes `(key, Outgoing)`."""

    experiment_results: Sink[tuple[str, Outgoing]]
    dead_letters: Sink[tuple[str, Outgoing]]
    erasure_receipts: Sink[tuple[str, Outgoing]]


def build(
    inputs: EvaluateInputs,
    outputs: EvaluateOutputs,
    settings: Settings,
    experiments: Experiments,
    clock: Callable[[], datetime],
    counts: Counter[str],
    erased: Erasures | None = None,
    signer: Signer | None = None,
    tracer: "Tracer | None" = None,
    find_rested: FindRested | None = None,
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    experiments : those that `recommend` assigns users by; results are published of them alone.
    clock : aware; no message may be ahead of it, and it decides when results are published and users forgotten.
    counts : what could not be used is added to it, by reason.
    erased : who is erased already; none: nobody, and users' ids are their state keys.
    signer : signs the receipts of erasures; none: nobody.
    tracer : gives batches spans; none: nobody asks for traces.
    find_rested : finds users who are to be forgotten; none: the engine wakes each of them.
    """
    erased = erased or Erasures()
    evaluation, attribution = settings.evaluate, settings.attribution
    declared = {experiment.digest(): experiment for experiment in experiments.declared}
    tallying = TallyConfig(
        declared,
        attribution.impressions,
        timedelta(seconds=evaluation.publish_every_s),
    )
    rest = timedelta(seconds=settings.profile.expire_after_s)
    decode = traced("decode events", event_decoder(settings.events, clock), read_or_refused, tracer)
    max_bytes = evaluation.max_slate_bytes
    of_time = plausible(settings.events, clock)

    resting = find_rested("evaluate.outcomes", rest) if find_rested else None

    flow = Dataflow("evaluate")

    events = op.input("events", flow, inputs.events)  # Record
    slates = op.input("recommendations", flow, inputs.recommendations)  # Record
    assignments = op.input("assignments", flow, inputs.assignments)  # Record
    assigned = decode_assignments(
        "decode_assignments", assignments, max_bytes, of_time, declared, erased
    )  # (user, Observed) | DeadLetter
    observed = op.merge(
        "observed",
        observe_events("observe_events", events, decode, settings.events, counts, erased, resting),
        observe_slates("observe_slates", slates, max_bytes, of_time, counts, erased),
        by_user("exposures", assigned),
        read_erasures(
            "decode_erasures",
            op.input("erasures", flow, inputs.erasures),
            erasure_decoder(settings.events, clock),
            erased,
            counts,
        ),
    )  # (user, Observed | Erased | Rested)

    changes = measure_users(
        "outcomes", observed, evaluation, attribution, rest, clock, counts, erased, is_swept=resting is not None
    )  # (user, Change | ErasureReceipt)
    receipts = write_receipts("write_receipts", changes, signer or Signer())  # (receipt key, Outgoing)
    deltas = add_up_by_experiment("add_up", changes)  # (experiment@digest, TallyDelta)
    results = tally("tally", deltas, tallying, clock, counts)  # (experiment, Outgoing)
    letters = write_letters("write_letters", assigned)  # (letter key, Outgoing)

    op.output("experiment_results", results, outputs.experiment_results)
    op.output("dead_letters", letters, outputs.dead_letters)
    op.output("erasure_receipts", receipts, outputs.erasure_receipts)
    return flow
