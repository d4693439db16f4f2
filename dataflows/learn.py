"""The flow that learns: events, the catalog and slates in, rows of the item tables and versions of rankers out.

    events ──────────► decode ─┬► transitions ─┬► add up ─► learn items ──┐
                               │  (a user a key)│          (a shard a key)│
                               │                └──────────► learn sessions├─► model-updates
    catalog ─────────► decode ─│──────────────────────────► learn content ┤
                               ▼                                          │
    recommendations ─► decode ─► attribute ───────────────► learn ranker ─┘
                               │ (a user a key)            (a ranker a key)
                               └────────────────────────────────────────────► dead-letters

The lowest line is there where a ranker is set to learn (`EDDY_RANKER__NAME`).

A snapshot packs each shard that has learned something, which is soon all of them: run it with an epoch of ten
seconds or more (a minute from 100,000 items on).

A row's version counts what was added to it, so it does not depend on batches, workers or crashes. Each user's
events are learned in their order, those of different users as they come. So after the same events every
history ends with the same versions and, up to rounding, the same rows. With one worker and one partition of
events that also holds on the way: a replayed row of equal version is equal. Otherwise two histories may have
learned different events at the same version, and where an item has had more neighbours than are counted,
which of the lightest were kept may differ.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.records import Outgoing, Record
from dataflows.run.settings import Settings
from dataflows.run.text_spaces import text_space
from dataflows.steps.add_up import add_up
from dataflows.steps.attribute import AttributeStep, attribute
from dataflows.steps.decode_known import decode_known
from dataflows.steps.learn_content import learn_content
from dataflows.steps.learn_items import learn_items
from dataflows.steps.learn_ranker import learn_ranker
from dataflows.steps.learn_sessions import learn_sessions
from dataflows.steps.read_acts import read_acts
from dataflows.steps.transitions import transitions
from dataflows.steps.write_letters import write_letters
from models.messages import DeadLetter, Event, Item
from models.online.outcome import ShownSlate
from models.rankers.checkpoint import Checkpoint

X = TypeVar("X")

CatalogEntry: TypeAlias = tuple[str, Item | None]
"""By item_id; None is an item that was removed."""


@dataclass(frozen=True, slots=True)
class LearnInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    catalog: Source[Record]
    recommendations: Source[Record]
    """Read only where a ranker learns."""


@dataclass(frozen=True, slots=True)
class LearnOutputs:
    """Where the flow writes; every sink takes `(key, Outgoing)`."""

    model_updates: Sink[tuple[str, Outgoing]]
    dead_letters: Sink[tuple[str, Outgoing]]


@dataclass(frozen=True, slots=True)
class LearnCodecs:
    """How messages are read and written."""

    decode_events: Callable[[list[Record]], list[Event | DeadLetter]]
    decode_catalog: Callable[[list[Record]], list[CatalogEntry | DeadLetter]]
    decode_slates: Callable[[list[Record]], list[tuple[str, ShownSlate | None] | DeadLetter]]
    encode: Callable[[DeadLetter], bytes]


def build(
    inputs: LearnInputs,
    outputs: LearnOutputs,
    codecs: LearnCodecs,
    settings: Settings,
    clock: Callable[[], datetime],
    counts: Counter[str],
    start: Checkpoint | None = None,
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    clock : aware; what decides when rows are published and users forgotten.
    counts : events that taught nothing are added to, by reason.
    start : a trained ranker for the one that learns to go on from.
    """
    config = settings.learn

    flow = Dataflow("learn")

    events = op.input("events", flow, inputs.events)  # Record
    known = decode_known("decode_events", events, codecs.decode_events, counts)  # Event
    acts = read_acts("read_acts", known, settings.events)  # (user, Act)
    learned = transitions("transitions", acts, settings.profile, clock, counts)  # (user, Contribution)
    batches = add_up("add_up", learned, config.shards, config.half_life_long_ms)  # (shard, ShardBatch)
    rows = learn_items("learn_items", batches, config, clock)  # (row key, Outgoing)
    sessions = learn_sessions("learn_sessions", learned, config, clock)  # (row key, Outgoing)

    catalog = op.input("catalog", flow, inputs.catalog)  # Record
    decoded = op.flat_map_batch("decode_catalog", catalog, codecs.decode_catalog)
    letters = write_letters("write_letters", decoded, codecs.encode)  # (letter key, Outgoing)
    entries = op.filter_map("catalog_entries", decoded, readable)  # (item, Item | None)
    content = learn_content("learn_content", entries, text_space(config.text), clock)  # (row key, Outgoing)

    if settings.ranker.name != "none":
        slates = op.input("recommendations", flow, inputs.recommendations)  # Record
        shown = op.flat_map_batch("decode_slates", slates, codecs.decode_slates)  # (user, ShownSlate) | DeadLetter
        letters = op.merge("all_letters", letters, write_letters("write_slate_letters", shown, codecs.encode))
        told = op.merge(
            "told",
            op.filter_map("shown", shown, readable),
            op.key_on("feedback", known, lambda event: event.user_id),
        )  # (user, ShownSlate | Event | None)
        closed = attribute("attribute", told, attribute_step(settings, clock, counts))  # (user, ClosedSlate)
        versions = learn_ranker(
            "learn_ranker",
            closed,
            settings.ranker,
            start,
            counts,
            keep=settings.checkpoint is None,
        )  # (row key, Outgoing)
        rows = op.merge("rows_and_versions", rows, versions)

    op.output("model_updates", op.merge("all_rows", rows, sessions, content), outputs.model_updates)
    op.output("dead_letters", letters, outputs.dead_letters)
    return flow


def readable(decoded: X | DeadLetter) -> X | None:
    """Return what was decoded, None for a dead letter."""
    return None if isinstance(decoded, DeadLetter) else decoded


def attribute_step(settings: Settings, clock: Callable[[], datetime], counts: Counter[str]) -> AttributeStep:
    """Gather from the settings what attribution needs."""
    rest = timedelta(seconds=settings.profile.expire_after_s)
    return AttributeStep(settings.attribution, settings.events.weights, rest, clock, counts)
