"""The flow that learns: events, the catalog and slates in, rows of the item tables and versions of rankers out.

    events ──────────► decode ─┬► transitions ─┬► add up ─► learn items ──┐
                               │  (a user a key)│          (a shard a key)│
                               │                └──────────► learn sessions├─► model-updates
    catalog ─────────► decode ─│──────────────────────────► learn content ┤
                               ▼                                          │
    recommendations ─► decode ─┬► attribute ─┬────────────► learn ranker ─┤
                               │  (a user a key)          (a ranker a key)│
                               │             └────────────► learn funnel ─┤
                               ├► impressions ────────────► graduate ─────┘
                               │                          (a shard a key)
                               └────────────────────────────────────────────► dead-letters

    erasures ────────► decode ─► to transitions and attribute, which give back what they hold ─► erasure-receipts

The lines of `recommendations` are there where a ranker is set to learn (`EDDY_RANKER__NAME`), or the funnel
(`EDDY_FUNNEL__LEARN`), or where new items graduate (`EDDY_LEARN__GRADUATES_AFTER`), which by
`EDDY_ATTRIBUTION__IMPRESSIONS=event` goes by events. Users are called by their state keys from the decoding on.

A snapshot packs each shard that has learned something, which is soon all of them: run it with an epoch of ten
seconds or more (a minute from 100,000 items on).

A row's version counts what was added to it, so it does not depend on batches, workers or crashes. Each user's
events are learned in their order, those of different users as they come. So after the same events every
history ends with the same versions and, up to rounding, the same rows. With one worker and one partition of
events that also holds on the way: a replayed row of equal version is equal. Otherwise two histories may have
learned different events at the same version, and where an item has had more neighbours than are counted,
which of the lightest were kept may differ.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.codecs import catalog_decoder, erasure_decoder, event_decoder, slate_decoder
from dataflows.following.erasures import Erasures
from dataflows.receipts import Signer
from dataflows.records import Outgoing, Record
from dataflows.run.resources import text_space
from dataflows.run.settings import LearnSettings, Settings
from dataflows.run.tracing import read_or_refused, traced
from dataflows.steps.alarms import MOST_IN_ENGINE, Alarms
from dataflows.steps.attribute import AttributeStep, attribute, known_slates, reminded
from dataflows.steps.decode import decode_known, readable, write_letters
from dataflows.steps.graduate import graduate, shown_by_events, shown_on_slates
from dataflows.steps.learn_content import learn_content
from dataflows.steps.learn_items import learn_items
from dataflows.steps.learn_ranker import LearnRankerStep, learn_funnel, learn_ranker
from dataflows.steps.learn_sessions import learn_sessions
from dataflows.steps.receipts import read_erasures, write_receipts
from dataflows.steps.rest import FindRested
from dataflows.steps.shards import add_up
from dataflows.steps.transitions import read_acts, transitions
from models.rankers.checkpoint import Checkpoint

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@dataclass(frozen=True, slots=True)
class LearnInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    catalog: Source[Record]
    recommendations: Source[Record]
    """Read only where a ranker or a funnel learns, or items graduate by what is on slates."""
    erasures: Source[Record]


@dataclass(frozen=True, slots=True)
class LearnOutputs:
    """Where the flow writes; every sink takes `(key, Outgoing)`."""

    model_updates: Sink[tuple[str, Outgoing]]
    dead_letters: Sink[tuple[str, Outgoing]]
    erasure_receipts: Sink[tuple[str, Outgoing]]


def build(
    inputs: LearnInputs,
    outputs: LearnOutputs,
    settings: Settings,
    clock: Callable[[], datetime],
    counts: Counter[str],
    start: Checkpoint | None = None,
    erased: Erasures | None = None,
    signer: Signer | None = None,
    tracer: "Tracer | None" = None,
    find_rested: FindRested | None = None,
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    clock : aware; no message may be ahead of it, and it decides when rows are published and users forgotten.
    counts : events that taught nothing are added to it, by reason.
    start : the trained ranker that the one that learns starts from.
    erased : who is erased already; none: nobody, and users' ids are their state keys.
    signer : signs the receipts of erasures; none: nobody.
    tracer : gives batches spans; none: nobody asks for traces.
    find_rested : finds users of whom something is to be forgotten; none: the engine wakes each of them.
    """
    config, messages = settings.learn, settings.events
    rest = timedelta(seconds=settings.profile.expire_after_s)
    erased = erased or Erasures()
    attribution = AttributeStep(
        settings.attribution,
        messages.weights,
        rest,
        clock,
        counts,
        erased,
        _alarms(settings, clock) if find_rested else None,
        decides_clicks_early=settings.funnel.learn,
    )

    flow = Dataflow("learn")

    events = op.input("events", flow, inputs.events)  # Record
    decode = traced("decode events", event_decoder(messages, clock), read_or_refused, tracer)
    known = decode_known("decode_events", events, decode, counts, erased)  # Event
    resting = find_rested("learn.transitions", _told_after(rest, config)) if find_rested else None
    acts = read_acts("read_acts", known, messages, resting)  # (user, Act | Rested)
    erasures = op.input("erasures", flow, inputs.erasures)  # Record
    gone = read_erasures(
        "decode_erasures", erasures, erasure_decoder(messages, clock), erased, counts
    )  # (user, Erased)
    learned = transitions(
        "transitions",
        op.merge("acts", acts, gone),
        settings.profile,
        config,
        clock,
        counts,
        erased,
        is_swept=resting is not None,
    )  # (user, Contribution | Withdrawal | ErasureReceipt)
    receipts = write_receipts("write_receipts", learned, signer or Signer())  # (receipt key, Outgoing)
    batches = add_up("add_up", learned, config)  # (shard, ShardBatch)
    rows = learn_items("learn_items", batches, config, clock)  # (row key, Outgoing)
    sessions = learn_sessions("learn_sessions", learned, config, clock)  # (row key, Outgoing)

    catalog = op.input("catalog", flow, inputs.catalog)  # Record
    decoded = op.flat_map_batch(
        "decode_catalog", catalog, catalog_decoder(messages, clock)
    )  # (item, Item | None) | DeadLetter
    letters = write_letters("write_letters", decoded)  # (letter key, Outgoing)
    entries = readable("catalog_entries", decoded)  # (item, Item | None)
    content = learn_content("learn_content", entries, text_space(config), clock)  # (row key, Outgoing)

    if settings.learns_from_slates or settings.counts_slates:
        slates = op.input("recommendations", flow, inputs.recommendations)  # Record
        decoded_slates = op.flat_map_batch(
            "decode_slates", slates, slate_decoder(messages, clock)
        )  # (user's id, ShownSlate) | DeadLetter
        letters = op.merge("all_letters", letters, write_letters("write_slate_letters", decoded_slates))
        shown = known_slates("shown", decoded_slates, erased, counts)  # (user, ShownSlate)
    if config.graduates_after:
        impressions = (
            shown_on_slates("shown_items", shown, config.shards)
            if settings.counts_slates
            else shown_by_events("impressions", known, config.shards)
        )  # (shard, (ItemShown, ...))
        rows = op.merge("rows_and_graduated", rows, graduate("graduate", impressions, config))  # (row key, Outgoing)
    if settings.learns_from_slates:
        feedback = op.merge(
            "told",
            shown,
            op.key_on("feedback", known, lambda event: event.user_id),
            gone,
        )  # (user, ShownSlate | Event | Erased)
        if find_rested and attribution.alarms:
            feedback = reminded("reminded", feedback, find_rested("learn.attribute", rest), attribution.alarms)
        closed = attribute("attribute", feedback, attribution)  # (user, ClosedSlate | ErasureReceipt)
        receipts = op.merge(
            "receipts", receipts, write_receipts("write_attribution_receipts", closed, signer or Signer())
        )
        step = LearnRankerStep(counts, erased, settings.attribution.closes_after_ms, clock)
        if settings.ranker.name != "none":
            versions = learn_ranker(
                "learn_ranker", closed, settings.ranker, step, start, keep=settings.checkpoint is None
            )  # (row key, Outgoing)
            rows = op.merge("rows_and_versions", rows, versions)
        if settings.funnel.learn:
            chances = learn_funnel(
                "learn_funnel",
                closed,
                settings.funnel,
                settings.funnel.stage_of(messages),
                settings.ranker.device,
                step,
            )  # (row key, Outgoing)
            rows = op.merge("rows_and_chances", rows, chances)

    op.output("model_updates", op.merge("all_rows", rows, sessions, content), outputs.model_updates)
    op.output("dead_letters", letters, outputs.dead_letters)
    op.output("erasure_receipts", receipts, outputs.erasure_receipts)
    return flow


def _told_after(rest: timedelta, config: LearnSettings) -> timedelta:
    """Say how long a user has rested who is told so: what was taught goes first, then the rest.

    Who is told and stays is written anew, and told again after as long. Where the one time is no multiple of the other,
    what goes last goes a quarter of the first too late at most.
    """
    history = timedelta(milliseconds=config.history_ms)
    if not config.history:
        return rest
    return history if rest <= history or rest % history == timedelta(0) else history / 4


def _alarms(settings: Settings, clock: Callable[[], datetime]) -> Alarms:
    """Keep the times at which slates close; of a cluster, a process that reads nothing itself has the engine alone."""
    return Alarms(clock, sys.maxsize if len(settings.cluster.members) > 1 else MOST_IN_ENGINE)
