"""The flow that learns the item side: events and the catalog in, rows of the item tables out.

    events ──► decode ──► transitions ─┬► add up ──► learn items ──┐
                          (a user a key)│            (a shard a key)│
                                        └──────────► learn sessions ├──► model-updates
    catalog ─► decode ──────────────────────────────► learn content┘
                  └───────────────────────────────────────────────────► dead-letters

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
from datetime import datetime
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.core_settings import item_side_config
from dataflows.records import Outgoing, Record
from dataflows.settings import Settings
from dataflows.steps.add_up import add_up
from dataflows.steps.learn_content import learn_content
from dataflows.steps.learn_items import LearnItemsConfig, learn_items
from dataflows.steps.learn_sessions import LearnSessionsConfig, learn_sessions
from dataflows.steps.read_acts import read_acts
from dataflows.steps.transitions import transitions
from dataflows.steps.write_letters import write_letters
from models.messages import DeadLetter, Event, Item

CatalogEntry: TypeAlias = tuple[str, Item | None]
"""By item_id; None is an item that was removed."""


@dataclass(frozen=True, slots=True)
class LearnInputs:
    """Where the flow reads; every source emits `Record`."""

    events: Source[Record]
    catalog: Source[Record]


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
    encode: Callable[[DeadLetter], bytes]


def build(
    inputs: LearnInputs,
    outputs: LearnOutputs,
    codecs: LearnCodecs,
    settings: Settings,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> Dataflow:
    """Lay out the flow.

    Parameters
    ----------
    clock : aware; what decides when rows are published and users forgotten.
    counts : events that taught nothing are added to, by reason.
    """
    learn, side = settings.learn, item_side_config(settings)
    table = LearnItemsConfig(
        side.statistics, side.trending, side.n_shards, learn.publish_every_s, learn.max_rows_per_publish
    )
    recent = LearnSessionsConfig(side.sessions, side.n_shards, learn.publish_every_s)

    flow = Dataflow("learn")

    events = op.input("events", flow, inputs.events)  # Record
    acts = read_acts(
        "decode_events", events, codecs.decode_events, side.event_weights, side.segment_fields, counts
    )  # (user, Act)
    learned = transitions("transitions", acts, side.transitions, clock, counts)  # (user, Contribution)
    batches = add_up("add_up", learned, side.n_shards, side.statistics.half_life_long_ms)  # (shard, ShardBatch)
    rows = learn_items("learn_items", batches, table, clock)  # (row key, Outgoing)
    sessions = learn_sessions("learn_sessions", learned, recent, clock)  # (row key, Outgoing)

    catalog = op.input("catalog", flow, inputs.catalog)  # Record
    decoded = op.flat_map_batch("decode_catalog", catalog, codecs.decode_catalog)
    letters = write_letters("write_letters", decoded, codecs.encode)  # (letter key, Outgoing)
    entries = op.filter_map("catalog_entries", decoded, entry_of)  # (item, Item | None)
    content = learn_content("learn_content", entries, clock)  # (row key, Outgoing)

    op.output("model_updates", op.merge("all_rows", rows, sessions, content), outputs.model_updates)
    op.output("dead_letters", letters, outputs.dead_letters)
    return flow


def flow() -> Dataflow:
    """Lay out the flow as the environment says, for a plain Bytewax worker.

    `python -m bytewax.run "dataflows.learn:flow()"` runs it, with Bytewax's own flags for recovery and processes.
    """
    from dataflows.worker import plain_worker  # noqa: PLC0415 - it imports this module

    return plain_worker("learn")


def entry_of(decoded: CatalogEntry | DeadLetter) -> CatalogEntry | None:
    """Return a catalog entry, None for a dead letter."""
    return None if isinstance(decoded, DeadLetter) else decoded
