"""The same core functions as in the recommend flow, called in a plain loop: what the engine adds is measured by it."""

import pickle
from collections import Counter, defaultdict
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from dataflows.codecs import encode, event_decoder
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.steps.profile import profile_step
from models.candidates.blend import blend
from models.experiments.assign.assignment import NOTHING, Experiments
from models.messages import DeadLetter, Event
from models.query.batch import QueryBatch
from models.serving.ranked import Ranked
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.user.profile import EventOutcome
from models.user.query import Query
from models.user.state import PackedUser, UserState
from tests.benchmarks.engine import batches
from tests.benchmarks.world import World, clock


@dataclass(slots=True)
class Lap:
    """One pass over the timed events."""

    seconds: float
    n_slates: int
    stages: dict[str, float]
    """Seconds of each stage."""


class BareLoop:
    """Every user's state after the past, and the loop over the present, which may be run again and again.

    Parameters
    ----------
    past : the packed users, where another loop has already made them.
    """

    def __init__(self, world: World, settings: Settings, past: dict[str, PackedUser] | None = None) -> None:
        self._world = world
        self._decode = event_decoder(settings.events)
        self._strategy = settings.strategy
        self._step = profile_step(settings, Experiments(), world.table, clock, Counter())
        self.past = past or self._live_through(world.past)

    def bytes_per_user(self) -> float:
        """Return the mean size of a user's snapshot, as the recovery store keeps it."""
        return float(np.mean([len(pickle.dumps((data, NOTHING, *rest))) for data, *rest in self.past.values()]))

    def run(self, recommender: Recommender) -> Lap:
        """Answer the present from the profiles of the past."""
        users = self._fresh()
        for user_id, packed in self.past.items():
            users[user_id] = self._user(packed)
        stages: defaultdict[str, float] = defaultdict(float)
        n_slates = 0
        began = perf_counter()
        for batch in batches(self._world.present):
            start = perf_counter()
            events = self._events(batch)
            stages["decode"] += perf_counter() - start
            queries = []
            for event in events:
                start = perf_counter()
                user = users[event.user_id]
                outcome = user.apply(event, self._step.table)
                applied = perf_counter()
                stages["profile"] += applied - start
                if outcome is EventOutcome.APPLIED and user.is_due(event, 0):
                    queries.append(user.due(event, self._strategy))
                    stages["query"] += perf_counter() - applied
            start = perf_counter()
            slates = recommender.recommend(queries)
            made = perf_counter()
            n_slates += len([encode(slate) for slate in slates])
            stages["recommend"] += made - start
            stages["encode"] += perf_counter() - made
        return Lap(perf_counter() - began, n_slates, stages)

    def queries(self) -> list[Query]:
        """Return the present's queries, for timing what recommending is made of."""
        users = {user_id: self._user(packed) for user_id, packed in self.past.items()}
        queries = []
        for event in self._events(self._world.present):
            user = users[event.user_id]
            user.apply(event, self._step.table)
            if user.is_due(event, 0):
                queries.append(user.due(event, self._strategy))
        return queries

    def _live_through(self, records: list[Record]) -> dict[str, PackedUser]:
        users = self._fresh()
        for batch in batches(records):
            for event in self._events(batch):
                users[event.user_id].apply(event, self._step.table)
        return {user_id: user.pack() for user_id, user in users.items()}

    def _user(self, packed: PackedUser | None = None) -> UserState:
        return UserState(self._step.config, self._step.events, packed)

    def _fresh(self) -> defaultdict[str, UserState]:
        return defaultdict(self._user)

    def _events(self, batch: list[Record]) -> list[Event]:
        return [event for event in self._decode(batch) if not isinstance(event, DeadLetter)]


def time_recommending(recommender: Recommender, queries: list[Query]) -> dict[str, float]:
    """Split recommending into its parts: microseconds a query, the median of batches of different queries."""
    laps: defaultdict[str, list[float]] = defaultdict(list)
    table, strategy = recommender.table, queries[0].strategy

    def lap(name: str, since: float) -> float:
        now = perf_counter()
        laps[name].append(1e6 * (now - since) / MOST_AT_ONCE)
        return perf_counter()

    for start in range(0, len(queries) - MOST_AT_ONCE + 1, MOST_AT_ONCE):
        at = perf_counter()
        batch = QueryBatch.from_queries(queries[start : start + MOST_AT_ONCE], table)
        at = lap("gather", at)
        blended = blend(batch, table, strategy.n_candidates)
        at = lap("candidates", at)
        ids = ["0" * 32] * batch.n
        ranked = Ranked(ids, batch, table, blended, blended.scores, "benchmark")
        if strategy.ranker in recommender._rankers:
            inputs = ranked.inputs
            at = lap("features", at)
            ranked.scores = recommender._rankers[strategy.ranker][0].score(inputs)
            at = lap("rank", at)
        recommender._drafts(ranked)
        lap("rerank_and_build", at)
    return {name: float(np.median(values)) for name, values in laps.items()}


def time_alone(recommender: Recommender, queries: list[Query]) -> dict[str, float]:
    """Answer queries one at a time, in this thread: percentiles in microseconds."""
    times = []
    for query in queries:
        at = perf_counter()
        recommender.recommend([query])
        times.append(1e6 * (perf_counter() - at))
    return {f"p{p}": float(np.percentile(times, p)) for p in (50, 90, 99)}
