"""Compile all kernels of learning before the first event."""

from models.learning import batches, item_statistics, trending


def warm_up() -> None:
    """Compile, or load from the cache, so that no batch waits: seconds the first time, then tenths."""
    batches.warm_up()
    item_statistics.warm_up()
    trending.warm_up()
