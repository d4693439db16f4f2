"""The step that adds up what a batch teaches: one message a shard travels, and not twenty an event."""

import bytewax.operators as op
from bytewax.operators import KeyedStream

from models.counts.batches import ShardBatch
from models.counts.batches import add_up as add_up_batch
from models.counts.transitions import Contribution


def shard_key(shard: int) -> str:
    """Name a shard's state; zero-padded, since the engine orders keys as text."""
    return f"{shard:04d}"


def add_up(
    step_id: str, contributions: KeyedStream[Contribution], n_shards: int, half_life_ms: int
) -> KeyedStream[ShardBatch]:
    """Add up contributions by shard."""

    def mapper(keyed: list[tuple[str, Contribution]]) -> list[tuple[str, ShardBatch]]:
        batches = add_up_batch([contribution for _, contribution in keyed], n_shards, half_life_ms)
        return [(shard_key(batch.shard), batch) for batch in batches]

    return op.flat_map_batch(step_id, contributions, mapper)
