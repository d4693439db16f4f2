"""The flow that says what works: what users did with what they were shown, by experiment and variant.

    events ──────────► observe ─┐
    recommendations ─► observe ─┼─► outcomes ──► add up ──► tally ──► experiment-results
    assignments ─────► observe ─┘  (a user a    (a batch)  (an experiment
                          │           key)                    a key)
                          └─────────────────────────────────────────► dead-letters

The topics are read side by side, and no more than some seconds of event time apart; what remains of disorder each
user's state puts right. What comes too late even so is counted.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.codecs import event_decoder
from dataflows.records import Outgoing, Record
from dataflows.run.settings import Settings
from dataflows.steps.decode import by_user, write_letters
from dataflows.steps.observe import decode_assignments, observe_events, observe_slates
from dataflows.steps.tally import TallyConfig, add_up_by_experiment, tally
from dataflows.steps.user_metrics import measure_users
from models.experiments.assign.assignment import Experiments


@dataclass(frozen=True, slots=True)
class EvaluateInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    recommendations: Source[Record]
    assignments: Source[Record]


@dataclass(frozen=True, slots=True)
class EvaluateOutputs:
    """Where the flow writes; every sink takes `(key, Outgoing)`."""

    experiment_results: Sink[tuple[str, Outgoing]]
    dead_letters: Sink[tuple[str, Outgoing]]


def build(
    inputs: EvaluateInputs,
    outputs: EvaluateOutputs,
    settings: Settings,
    experiments: Experiments,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    experiments : those that `recommend` assigns users by; results are published of them alone.
    clock : aware; what decides when results are published and users forgotten.
    counts : what could not be used is added to it, by reason.
    """
    evaluation, attribution = settings.evaluate, settings.attribution
    declared = {experiment.digest(): experiment for experiment in experiments.declared}
    tallying = TallyConfig(
        declared,
        attribution.impressions,
        timedelta(seconds=evaluation.publish_every_s),
    )
    rest = timedelta(seconds=settings.profile.expire_after_s)
    decode, max_bytes = event_decoder(settings.events), evaluation.max_slate_bytes

    flow = Dataflow("evaluate")

    events = op.input("events", flow, inputs.events)  # Record
    slates = op.input("recommendations", flow, inputs.recommendations)  # Record
    assignments = op.input("assignments", flow, inputs.assignments)  # Record
    assigned = decode_assignments(
        "decode_assignments", assignments, max_bytes, declared
    )  # (user, Exposed) | DeadLetter
    observed = op.merge(
        "observed",
        observe_events("observe_events", events, decode, settings.events, counts),
        observe_slates("observe_slates", slates, max_bytes, counts),
        by_user("exposures", assigned),
    )  # (user, Observation | None)

    changes = measure_users("outcomes", observed, evaluation, attribution, rest, clock, counts)  # (user, Change)
    deltas = add_up_by_experiment("add_up", changes)  # (experiment@digest, TallyDelta)
    results = tally("tally", deltas, tallying, clock, counts)  # (experiment, Outgoing)
    letters = write_letters("write_letters", assigned)  # (letter key, Outgoing)

    op.output("experiment_results", results, outputs.experiment_results)
    op.output("dead_letters", letters, outputs.dead_letters)
    return flow
