"""The flows over records in memory, with a stopwatch on what crosses their edges."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSource, run_main

from dataflows import learn, recommend
from dataflows.records import Outgoing, Record
from dataflows.run.recovery_store import NEVER
from dataflows.run.settings import EventSettings, Settings
from dataflows.run.worker import LARGE
from dataflows.steps.rest import Resting
from dataflows.store.files import size_of
from dataflows.store.rested import look_up
from dataflows.store.sweeping import Sweeping
from models.experiments.assign.assignment import Experiments
from models.serving.recommender import Recommender
from models.strategy import Strategy
from tests.benchmarks.world import TRIGGER, World, clock
from tests.tables import FixedTables

BATCH = 1_000
"""Records of a batch, as the Kafka source reads at most."""
EPOCH = timedelta(seconds=1)
PARTITIONS = 8


@dataclass
class Stopwatch:
    """From the first timed record that is read to the last one and to the last message that is written."""

    started: float = 0.0
    all_read: float = 0.0
    first_written: float = 0.0
    last_written: float = 0.0
    n_written: int = 0
    polls: list[float] = field(default_factory=list)
    """When the feed was asked for a batch."""
    on_first: Callable[[], object] = lambda: None
    """Called once, before the first message is written."""
    on_all_read: Callable[[], object] = lambda: None
    """Called once, when the feed ends."""


class _Feed(StatefulSourcePartition[Record, int]):
    def __init__(self, source: "Feed", start: int) -> None:
        self._source = source
        self._at = start
        self._is_stopped = self._is_over = False

    def next_batch(self) -> list[Record]:
        source, at = self._source, self._at
        if self._is_stopped:
            return self._end()
        source.watch.polls.append(perf_counter())
        if at >= len(source.past) and not source.watch.started:
            source.watch.started = perf_counter()
        if at >= source.n:
            source.watch.all_read = perf_counter()
            source.watch.on_all_read()
            self._is_stopped = True
            return self._end()
        self._at += BATCH
        if at < len(source.past):
            self._at = min(self._at, len(source.past))
            return source.past[at : self._at]
        return source.present[at - len(source.past) : self._at - len(source.past)]

    def _end(self) -> list[Record]:
        """End as the Kafka source does: with the running epoch where the store is large, else at once."""
        if self._is_over:
            raise AbortExecution
        if not self._source.ends_with_epoch:
            raise StopIteration
        return []

    def snapshot(self) -> int:
        self._is_over = self._is_stopped
        return self._at


@dataclass
class Feed(FixedPartitionedSource[Record, int]):
    """First the past, then the present, on whose first batch the stopwatch starts."""

    past: list[Record]
    present: list[Record]
    watch: Stopwatch
    ends_with_epoch: bool = False

    @property
    def n(self) -> int:
        """Records in all."""
        return len(self.past) + len(self.present)

    def list_parts(self) -> list[str]:
        return ["0"]

    def build_part(self, _step_id: str, _for_part: str, resume_state: int | None) -> _Feed:
        return _Feed(self, resume_state or 0)


@dataclass
class Count(DynamicSink[tuple[str, Outgoing]], StatelessSinkPartition[tuple[str, Outgoing]]):
    """Counts what is written, and keeps nothing."""

    watch: Stopwatch = field(default_factory=Stopwatch)

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> "Count":
        return self

    def write_batch(self, items: list[tuple[str, Outgoing]]) -> None:
        if not self.watch.n_written:
            self.watch.on_first()
        self.watch.n_written += len(items)
        self.watch.last_written = perf_counter()
        self.watch.first_written = self.watch.first_written or self.watch.last_written


FOUR_SOURCES = "blend, four sources"
STRATEGIES = {
    FOUR_SOURCES: Strategy(
        sources={"sequential_rules": 1.0, "covisitation": 0.7, "content": 0.3, "trending": 0.2}, n_candidates=100
    ),
    "blend": Strategy(n_candidates=100),
    "mlp": Strategy(ranker="mlp", n_candidates=100),
}
"""All sources but in the first, which is for who would rather have speed."""


def settings_for(name: str) -> Settings:
    """Make the benchmark's settings: clicks make slates, 100 candidates."""
    return Settings(
        events=EventSettings(triggers=frozenset({TRIGGER})),
        strategy=STRATEGIES[name],
    )


def time_recommend(
    world: World, recommender: Recommender, settings: Settings, *, recovery: bool, store: Path | None = None
) -> Stopwatch:
    """Run the recommend flow; a slate a trigger is written.

    Parameters
    ----------
    store : the recovery store to go on from; none: one of its own, where recovery is on.
    """
    watch = Stopwatch()
    with ExitStack() as stack:
        if recovery and store is None:
            store = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            init_db_dir(store, PARTITIONS)  # type: ignore[no-untyped-call]
        flow = lay_out(world, recommender, settings, watch, store)
        if store is None:
            run_main(flow)  # with the engine's own epoch, as `run_flow` does
        else:
            run_with_store(flow, store)
    return watch


def lay_out(
    world: World, recommender: Recommender, settings: Settings, watch: Stopwatch, store: Path | None = None
) -> Dataflow:
    """Lay out the recommend flow over a world's events, and over its recovery store if there is one."""

    def find_rested(step_id: str, after: timedelta) -> Resting:
        assert store is not None
        return Resting(partial(look_up, store, step_id), after, clock)

    return recommend.build(
        recommend.RecommendInputs(
            Feed(world.past, world.present, watch, store is not None and size_of(store) > LARGE),
            TestingSource([]),
            TestingSource([]),
        ),
        recommend.RecommendOutputs(Count(watch), Count(), Count(), Count()),
        settings,
        Experiments(),
        recommender,
        FixedTables(world.table),
        clock,
        Counter(),
        find_rested=find_rested if store is not None else None,
    )


def time_learn(world: World, settings: Settings) -> Stopwatch:
    """Run the learn flow; as many events as are timed go first, so that its shards hold something."""
    watch = Stopwatch()
    feed = Feed(world.past[-len(world.present) :], world.present, watch)
    flow = learn.build(
        learn.LearnInputs(feed, TestingSource([]), TestingSource([]), TestingSource([])),
        learn.LearnOutputs(Count(watch), Count(), Count()),
        settings,
        clock,
        Counter(),
    )
    run_main(flow)
    return watch


def run_with_store(flow: Any, store: Path, epoch: timedelta = EPOCH) -> None:
    """Run a flow on a recovery store that is there, with a snapshot an epoch, as `run_flow` does."""
    recovery = RecoveryConfig(str(store), NEVER)  # type: ignore[no-untyped-call]
    with closing(Sweeping(store)):
        run_main(flow, epoch_interval=epoch, recovery_config=recovery)  # type: ignore[no-untyped-call]


def batches(records: list[Record]) -> Iterable[list[Record]]:
    """Part records as the feed does."""
    return (records[at : at + BATCH] for at in range(0, len(records), BATCH))
