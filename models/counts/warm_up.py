"""Compile all kernels of learning before the first event."""

from models.counts import batches, item_statistics, trends


def warm_up() -> None:
    """Compile, or load from the cache, so that no batch waits: seconds the first time, then tenths."""
    batches.warm_up()
    item_statistics.warm_up()
    trends.warm_up()
