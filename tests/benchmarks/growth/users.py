"""The recommend flow over the profiles of many users: what each of them costs, and what a start takes."""

import tempfile
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from itertools import islice
from pathlib import Path
from time import process_time

import bytewax.operators as op
import numpy as np
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import init_db_dir
from bytewax.testing import TestingSink

from dataflows.run.runtime import tune_gc
from dataflows.steps.profile import State
from dataflows.store.check import check_store
from dataflows.store.files import open_file, partition_files
from dataflows.store.spreading import spread
from models.serving.recommender import Recommender
from models.user.state import PackedUser
from tests.benchmarks.bare import BareLoop
from tests.benchmarks.engine import BATCH, PARTITIONS, Stopwatch, lay_out, run_with_store, settings_for
from tests.benchmarks.growth.alone import alone
from tests.benchmarks.growth.memory import resident_bytes
from tests.benchmarks.world import World, make_world

N_ITEMS, N_LIKE, N_EVENTS = 20_000, 1_000, 40_000
"""Items of the shop; users with a past, whose profiles all others copy; timed events, of which one in four makes a
slate."""
SETTINGS = settings_for("blend")
EPOCH = timedelta(seconds=5)
"""As `recommend` takes it at first."""
NO_EPOCH = timedelta(hours=1)
"""In which a store is filled: each user is written once, at the end."""


def measure_users(n_users: int) -> dict[str, float]:
    """Resume `n_users`, each with 15 views, from a recovery store, then let some of them act on."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        alone(fill_store, store, n_users)
        return alone(_resume, store, n_users)


def _resume(store: Path, n_users: int) -> dict[str, float]:
    world = _world(n_users)
    recommender = Recommender(world.table, n_threads=SETTINGS.n_threads)
    recommender.warm_up()
    watch = Stopwatch()
    figures = {"store_bytes_a_user": _size(store) / n_users, "read_s": _read(store)}
    began = process_time()
    check_store(store, lay_out(world, recommender, SETTINGS, watch))
    figures["check_s"] = process_time() - began
    began = process_time()
    figures["files"] = spread(store)
    figures["spread_s"] = process_time() - began
    tune_gc()  # as `run_flow` does
    held = resident_bytes()
    first: list[float] = []
    end: list[float] = []
    flow = lay_out(world, recommender, SETTINGS, watch, store)
    watch.on_first = lambda: first.extend((process_time(), float(resident_bytes())))
    watch.on_all_read = lambda: end.append(process_time())
    began = process_time()
    run_with_store(flow, store, EPOCH)
    stopped_at, (resumed_at, holds), [all_read_at] = process_time(), first, end
    gaps = np.diff(watch.polls)
    return figures | {
        "resume_s": resumed_at - began,
        "memory_bytes_a_user": (holds - held) / n_users,
        "us_a_slate": 1e6 * (all_read_at - resumed_at) / watch.n_written,
        "stop_s": stopped_at - all_read_at,
        "pause_ms": 1e3 * float(gaps.max()),
        "median_ms": 1e3 * float(np.median(gaps)),
        "store_bytes_a_user_after": _size(store) / n_users,
    }


def _world(n_users: int) -> World:
    world = make_world(N_EVENTS, n_items=N_ITEMS, n_users=n_users, n_with_past=N_LIKE)
    return World(world.table, [], world.present)


def fill_store(store: Path, n_users: int) -> None:
    """Let the engine write a store as the flow would leave it, without living through every user's past."""
    world = make_world(0, n_items=N_ITEMS, n_users=N_LIKE)
    packed = list(BareLoop(world, SETTINGS).past.values())
    init_db_dir(store, PARTITIONS)  # type: ignore[no-untyped-call]
    flow = Dataflow("recommend")
    given = op.input("events", flow, _Users(packed, n_users))
    op.output("nowhere", op.stateful_batch("profile", given, _Given), TestingSink([]))
    run_with_store(flow, store, NO_EPOCH)


class _Users(DynamicSource[tuple[str, PackedUser]], StatelessSourcePartition[tuple[str, PackedUser]]):
    """Users, who are like some few."""

    def __init__(self, like: list[PackedUser], n_users: int) -> None:
        self._like = like
        self._left = iter(range(n_users))

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> "_Users":
        return self

    def next_batch(self) -> list[tuple[str, PackedUser]]:
        batch = list(islice(self._left, BATCH))
        if not batch:
            raise StopIteration
        return [(f"user-{n}", self._like[n % len(self._like)]) for n in batch]


class _Given(StatefulBatchLogic[PackedUser, None, State]):
    """A user who is the one that arrives."""

    def __init__(self, state: State | None) -> None:
        self._state = state

    def on_batch(self, values: list[PackedUser]) -> tuple[Iterable[None], bool]:
        packed, requests, run = values[-1]
        self._state = packed, ("", ""), requests, run, 0
        return (), self.RETAIN

    def snapshot(self) -> State:
        assert self._state is not None
        return self._state


def _read(store: Path) -> float:
    """Return the seconds in which SQLite gives out every row of a store once."""
    began = process_time()
    for path in partition_files(store):
        with closing(open_file(path)) as file:
            for _ in file.execute("SELECT step_id, state_key, snap_epoch, ser_change FROM snaps"):
                pass
    return process_time() - began


def _size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.iterdir())
