"""The item table of a growing catalog: what an item takes, how long the table takes to load, and what a slate takes."""

from time import process_time

import numpy as np

from dataflows.run.runtime import tune_gc
from models.items import ItemTable
from models.items import warm_up as items
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.user.query import Query
from tests.benchmarks.bare import BareLoop, time_alone
from tests.benchmarks.engine import settings_for
from tests.benchmarks.growth.memory import resident_bytes
from tests.benchmarks.world import N_NEIGHBOURS, NOW, World, chunks, events_of, make_world, shelves

N_USERS, N_EVENTS = 1_000, 8_192
"""Users, of whom each has 15 views; timed events, of which one in four makes a slate."""
LINK_BYTES = 12
"""Of a neighbour: a row and two weights."""


def measure_items(n_items: int) -> dict[str, float]:
    """Fill a table with `n_items`, 50 neighbours each, and answer some slates from it."""
    items.warm_up()
    make_world(0, n_items=1_000, n_users=1)  # whose rows compile what else there is to compile
    rng = np.random.default_rng(0)
    shelf, popularity = shelves(rng, n_items)
    held = resident_bytes()
    table = ItemTable(NOW, n_neighbours=N_NEIGHBOURS)
    load_s = 0.0
    for chunk in chunks(rng, shelf, popularity):
        began = process_time()
        chunk.fill(table)
        load_s += process_time() - began
    figures = {
        "load_s": load_s,
        "row_bytes": (resident_bytes() - held) / n_items - N_NEIGHBOURS * LINK_BYTES,
    }
    settings = settings_for("blend")
    past, present = events_of(rng, popularity, N_EVENTS, N_USERS)
    world = World(table, past, present)
    recommender = Recommender(table, n_threads=1)
    recommender.warm_up()
    queries = BareLoop(world, settings).queries()
    tune_gc()  # as the flows do
    recommender.recommend(queries[:256])
    alone = time_alone(recommender, queries[:500])
    return figures | {
        "us_a_slate": _time_batches(recommender, queries),
        "us_alone_p50": alone["p50"],
        "us_alone_p99": alone["p99"],
    }


def _time_batches(recommender: Recommender, queries: list[Query]) -> float:
    """Return microseconds a slate, the median of full batches of different queries."""
    times = []
    for start in range(0, len(queries) - MOST_AT_ONCE + 1, MOST_AT_ONCE):
        began = process_time()
        recommender.recommend(queries[start : start + MOST_AT_ONCE])
        times.append(1e6 * (process_time() - began) / MOST_AT_ONCE)
    return float(np.median(times))
