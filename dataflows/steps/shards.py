"""What the shards of the item tables share: keys, what a batch adds to each, when they publish, versions, messages."""

import math
from datetime import UTC, datetime

import bytewax.operators as op
from bytewax.operators import KeyedStream

from dataflows.plausible import in_ms
from dataflows.records import Outgoing
from dataflows.steps.transitions import Taught
from models.config import ItemSideConfig
from models.counts.history import Withdrawal
from models.counts.pairs import ShardBatch, take_back
from models.counts.pairs import add_up as add_up_batch
from models.counts.transitions import Contribution
from models.items.wire import VERSIONS_A_MS, PackedRow


def shard_key(shard: int) -> str:
    """Name a shard's state; zero-padded, since the engine orders keys as text."""
    return f"{shard:04d}"


def add_up(step_id: str, taught: KeyedStream[Taught], config: ItemSideConfig) -> KeyedStream[ShardBatch]:
    """Add up what a batch of events teaches by shard: one message a shard travels, and not twenty an event.

    What erasures take back comes after it: it may have been learned in the same batch.
    """
    how = config.shards, config.half_life_long_ms, config.half_life_between_ms

    def mapper(keyed: list[tuple[str, Taught]]) -> list[tuple[str, ShardBatch]]:
        learned = [value for _, value in keyed if isinstance(value, Contribution)]
        batches = add_up_batch(learned, *how)
        for _, value in keyed:
            if isinstance(value, Withdrawal):
                batches += take_back(value, *how)
        return [(shard_key(batch.shard), batch) for batch in batches]

    return op.flat_map_batch(step_id, taught, mapper)


def next_turn(now: datetime, shard: int, n_shards: int, every_s: float) -> datetime:
    """Return a shard's next moment to publish, `every_s` seconds after the one before it.

    Shards take turns, so that they do not all publish at the same moment.
    """
    phase = every_s * shard / n_shards
    turn = math.floor((now.timestamp() - phase) / every_s) + 1
    return datetime.fromtimestamp(turn * every_s + phase, UTC)


def first_version(now: datetime) -> int:
    """Return a version above those of any state that was made a moment earlier.

    Rows count up from here by what was added to them. Should a recovery store be lost, the rows of the state
    that takes its place still rise above those that consumers already have: by 2**20 a millisecond, more than
    anybody adds to a row.
    """
    return in_ms(now) << VERSIONS_A_MS


def outgoing(row: PackedRow) -> Outgoing:
    """Make a row's message."""
    return Outgoing(row.key, f"{row.key}@{row.version}", row.pack())


def tombstone(key: str) -> Outgoing:
    """Make the message that takes a row away."""
    return Outgoing(key, f"{key}@gone", None)
