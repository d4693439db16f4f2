"""When a shard publishes: shards take turns, so that they do not all publish at the same moment."""

import math
from datetime import UTC, datetime


def next_turn(now: datetime, shard: int, n_shards: int, every_s: float) -> datetime:
    """Return a shard's next moment to publish, `every_s` seconds after the one before it."""
    phase = every_s * shard / n_shards
    turn = math.floor((now.timestamp() - phase) / every_s) + 1
    return datetime.fromtimestamp(turn * every_s + phase, UTC)
