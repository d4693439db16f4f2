"""Mutated messages of every topic, through the flows themselves and through what follows their outputs.

Each batch runs the three flows over a new recovery store, with a snapshot after every few records, and applies rows,
results and letters as the processes and commands do. Whatever raises is an escape, named by its seed.
"""

import logging
import random
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows import evaluate, learn, recommend
from dataflows.cli.letters import originals
from dataflows.codecs import catalog_decoder, latest_row
from dataflows.following.results import take_results
from dataflows.following.rows import CatalogRows, RankerRows, apply_rows_that_are_sound
from dataflows.records import Outgoing, Record
from dataflows.run.settings import EventSettings, LearnSettings, RankerSettings, Settings
from dataflows.steps.outputs import put_versions
from models.config import AttributionConfig
from models.experiments.assign.assignment import Experiments
from models.experiments.assign.declaration import Analysis, Experiment, TrafficBounds, Variant
from models.items import ItemTable
from models.messages import Item
from models.names import FEATURE_SET, FEATURES
from models.numeric.halves import pack_halves
from models.online.published import Published
from models.online.versions import rows_of, rows_of_sequence
from models.rankers.checkpoint import SHIPPED, load_checkpoint
from models.rules import Rule
from models.serving.recommender import Recommender
from models.strategy import Strategy
from tests.fuzz.invariants import check
from tests.fuzz.mutations import mutated
from tests.models.sequence.builders import a_sequence_model
from tests.tables import FixedTables

NOW = 1_700_000_000_000
BATCH = 2_000
"""Messages of a batch, over all topics."""
EXPERIMENT = Experiment(
    "page",
    (Variant("control", 1.0, Strategy()), Variant("treatment", 1.0, Strategy(diversity=0.5))),
    analysis=Analysis(goal="ctr", stop=True, bandit=TrafficBounds(0.1, 0.9)),
)
NEARBY = (
    Rule("out-of-reach", "filter", {"distance_km": {"gt": {"item": "reach_km"}}}),
    Rule("near", "boost", half_km=5),
)
SETTINGS = Settings(
    events=EventSettings(segment_fields=("device", "daypart"), text_field="wrote"),
    learn=LearnSettings(shards=4, min_users=2),
    strategy=Strategy(rules=NEARBY),
    attribution=AttributionConfig(window_s=5, lateness_s=2),
    ranker=RankerSettings(name="ftrl", batch_size=4, publish_every=2, min_judged=4, guard_slates=16, reservoir=16),
)


class Batch:
    """Sound messages of every topic, mutated."""

    def __init__(self, seed: int, rows: list[Record]) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - a replay, not a secret
        n = BATCH // 10
        self.events = self._of(3 * n, self._event)
        self.requests = self._of(n, self._request)
        self.erasures = self._of(n // 4, self._erasure)
        self.catalog = self._of(n, self._entry)
        self.slates = self._of(n, self._slate)
        self.assignments = self._of(n // 2, self._assignment)
        self.results = self._of(n // 4, self._result)
        self.rows = [mutated(self._rng.choice(rows), self._rng) for _ in range(n)] if rows else []

    def _of(self, n: int, make: Callable[[int], tuple[str, dict[str, Any]]]) -> list[Record]:
        records = []
        for number in range(n):
            key, message = make(number)
            records.append(
                mutated(Record(0, number, NOW + 1_000 * number, key.encode(), orjson.dumps(message)), self._rng)
            )
        return records

    def letters(self, written: list[tuple[str, Outgoing]]) -> list[Record]:
        """Mutate letters that the flows wrote."""
        return [
            mutated(Record(0, number, NOW, key.encode(), outgoing.value), self._rng)
            for number, (key, outgoing) in enumerate(written[: BATCH // 10])
        ]

    def _event(self, number: int) -> tuple[str, dict[str, Any]]:
        rng, user = self._rng, f"u-{self._rng.randrange(12)}"
        kinds = ("view", "click", "purchase", "rating", "impression", "dislike")
        return user, {
            "event_id": f"e-{number}", "user_id": user, "item_id": f"i-{rng.randrange(20)}",
            "event_type": rng.choice(kinds), "timestamp": NOW + 1_000 * number, "session_id": f"s-{user}",
            "value": 4.0, "recommendation_id": f"r-{rng.randrange(200)}", "position": 3,
            "consent": True, "version": 1,
            "context": {"device": "tv", "hour": 9, "wrote": "a green lamp", "latitude": 52.5, "longitude": 13.4},
        }  # fmt: skip

    def _request(self, number: int) -> tuple[str, dict[str, Any]]:
        user = f"u-{self._rng.randrange(12)}"
        return user, {
            "request_id": f"q-{number}", "user_id": user, "timestamp": NOW + 1_000 * number, "item_id": "i-1",
            "n_items": 5, "query": "green lamp", "candidates": ["i-1", "i-2", "i-3"],
            "context": {"device": "tv", "age": 17, "latitude": 52.5, "longitude": 13.4}, "consent": True, "version": 1,
        }  # fmt: skip

    def _erasure(self, number: int) -> tuple[str, dict[str, Any]]:
        user = f"u-{self._rng.randrange(12)}"
        return user, {"erasure_id": f"x-{number}", "user_id": user, "requested_at": NOW + number, "version": 1}

    def _entry(self, number: int) -> tuple[str, dict[str, Any]]:
        item = f"i-{self._rng.randrange(30)}"
        return item, {
            "item_id": item, "title": f"Green lamp {number % 9}", "text": "It shines.",
            "categories": [f"c{number % 3}"], "tags": ["new"], "price": 10.0,
            "attributes": {"brand": "Lamy", "watts": 4}, "available": True,
            "created_at": NOW, "requires": ["age=17"] if number % 9 == 0 else [], "excludes": [], "version": 1,
            "location": {"latitude": 52.5, "longitude": 13.0 + number % 9 / 10, "reach_km": 20.0},
        }  # fmt: skip

    def _slate(self, number: int) -> tuple[str, dict[str, Any]]:
        user = f"u-{self._rng.randrange(12)}"
        items = [
            {"item_id": f"i-{item}", "position": item, "score": 0.5, "source": "trending", "reason": "",
             "reason_code": "trending", "reason_about": None, "propensity": 1.0}
            for item in range(4)
        ]  # fmt: skip
        return user, {
            "recommendation_id": f"r-{number}", "user_id": user, "created_at": NOW + 1_000 * number, "trigger": "event",
            "trigger_id": f"e-{number}", "experiment": "page", "variant": "control", "model_version": "blend@0",
            "learned_until": 0, "n_events": 1, "feature_set": FEATURE_SET, "items": items, "teams": None, "version": 1,
            "novelty": 0.5, "features": pack_halves(np.array([[self._rng.random() for _ in FEATURES]] * 4, np.float32)),
        }  # fmt: skip

    def _assignment(self, number: int) -> tuple[str, dict[str, Any]]:
        user = f"u-{self._rng.randrange(12)}"
        return user, {
            "user_id": user, "experiment": "page", "variant": self._rng.choice(("control", "treatment")),
            "bucket": 0.25, "assigned_at": NOW + number, "digest": EXPERIMENT.digest(), "shares": [0.4, 0.6],
            "version": 1,
        }  # fmt: skip

    def _result(self, number: int) -> tuple[str, dict[str, Any]]:
        return "page", {
            "experiment": "page", "digest": EXPERIMENT.digest(), "goal": "ctr", "impressions": "slate",
            "updated_at": NOW + number, "alpha": 0.05, "delta": 0.0, "mismatch_p": 1.0, "verdict": "running",
            "decision": None, "variants": [], "history": [], "version": 1,
            "traffic": [{"from_at": NOW, "shares": [0.3, 0.7]}, {"from_at": NOW + 5, "shares": [0.5, 0.5]}],
        }  # fmt: skip


class Run:
    """Batch after batch, over one item table, and what became of the messages."""

    def __init__(self) -> None:
        self.n = 0
        self.outcomes: Counter[str] = Counter()
        self.escapes: list[str] = []
        self._table = ItemTable(NOW)
        self._table.apply_items([Item(f"i-{n}", f"Lamp {n}", categories=[f"c{n % 3}"]) for n in range(20)], [])
        self._recommender = Recommender(self._table)
        self._latest = latest_row(SETTINGS.events)
        self._rankers: Counter[str] = Counter()
        self._versions = RankerRows(self._rankers)
        self._experiments = Experiments([EXPERIMENT])
        checkpoint = load_checkpoint(SHIPPED)
        published = Published(checkpoint, 1, is_rollback=False, learned_until=NOW, evidence={"pairwise_auc": 0.6})
        rows = [*rows_of("mlp", published), *rows_of_sequence(a_sequence_model(), (), ())]
        self._rows = [Record(0, n, NOW, row.key.encode(), row.value) for n, row in enumerate(rows)]

    def batch(self, seed: int, store: Path) -> None:
        """Run one batch; an exception is an escape."""
        batch = Batch(seed, self._rows)
        letters: list[Any] = []
        written: dict[str, list[Any]] = {name: [] for name in ("slates", "assignments", "rows", "results", "receipts")}
        steps: dict[str, Callable[[], None]] = {
            "recommend": lambda: self._flow("recommend", store, self._recommend(batch, written, letters)),
            "learn": lambda: self._flow("learn", store, self._learn(batch, written, letters)),
            "evaluate": lambda: self._flow("evaluate", store, self._evaluate(batch, written, letters)),
            "model-updates": lambda: self._follow(batch, written),
            "experiment-results": lambda: self._results(batch),
            "dead-letters": lambda: self._letters(batch.letters(letters)),
            "invariants": lambda: check(self._table),
        }
        for name, step in steps.items():
            try:
                step()
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self.escapes.append(f"seed {seed}, {name}: {''.join(traceback.format_exception(error))[-1500:]}")
        for _, outgoing in letters:
            letter = orjson.loads(outgoing.value)
            self.outcomes[f"{letter['topic']}: {letter['reason']}"] += 1
        for name, messages in written.items():
            self.outcomes[f"{name} written"] += len(messages)
        fresh = [Record(0, n, NOW, key.encode(), outgoing.value) for n, (key, outgoing) in enumerate(written["rows"])]
        self._rows = [*self._rows[:8], *fresh[-500:]]
        read = (batch.events, batch.requests, batch.erasures, batch.catalog, batch.slates, batch.assignments)
        self.n += sum(map(len, (*read, batch.results, batch.rows))) + min(len(letters), BATCH // 10)

    def _flow(self, name: str, store: Path, flow: Dataflow) -> None:
        folder = store / name
        folder.mkdir()
        init_db_dir(folder, 1)
        run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(folder))

    def _recommend(self, batch: Batch, written: dict[str, list[Any]], letters: list[Any]) -> Dataflow:
        sources = (TestingSource(records, 100) for records in (batch.events, batch.requests, batch.erasures))
        sinks = (*(TestingSink(written[name]) for name in ("slates", "assignments")), TestingSink(letters),
                 TestingSink(written["receipts"]))  # fmt: skip
        return recommend.build(
            recommend.RecommendInputs(*sources), recommend.RecommendOutputs(*sinks), SETTINGS, self._experiments,
            self._recommender, FixedTables(self._table), lambda: datetime.now(UTC), self._counts("recommend"),
        )  # fmt: skip

    def _learn(self, batch: Batch, written: dict[str, list[Any]], letters: list[Any]) -> Dataflow:
        sources = (
            TestingSource(records, 100) for records in (batch.events, batch.catalog, batch.slates, batch.erasures)
        )
        sinks = TestingSink(written["rows"]), TestingSink(letters), TestingSink(written["receipts"])
        return learn.build(
            learn.LearnInputs(*sources), learn.LearnOutputs(*sinks),
            SETTINGS, lambda: datetime.now(UTC), self._counts("learn"),
        )  # fmt: skip

    def _evaluate(self, batch: Batch, written: dict[str, list[Any]], letters: list[Any]) -> Dataflow:
        sources = (
            TestingSource(records, 100) for records in (batch.events, batch.slates, batch.assignments, batch.erasures)
        )
        sinks = TestingSink(written["results"]), TestingSink(letters), TestingSink(written["receipts"])
        return evaluate.build(
            evaluate.EvaluateInputs(*sources), evaluate.EvaluateOutputs(*sinks), SETTINGS,
            self._experiments, lambda: datetime.now(UTC), self._counts("evaluate"),
        )  # fmt: skip

    def _counts(self, flow: str) -> Counter[str]:
        run = self

        class Counts(Counter[str]):
            def __setitem__(self, name: str, n: int) -> None:
                run.outcomes[f"{flow}: {name}"] += n - self.get(name, 0)
                super().__setitem__(name, n)

        return Counts()

    def _follow(self, batch: Batch, written: dict[str, list[Any]]) -> None:
        counts = self._counts("model-updates")
        CatalogRows(self._table, catalog_decoder(SETTINGS.events), self._counts("catalog")).apply(batch.catalog)
        honest = [Record(0, n, NOW, key.encode(), outgoing.value) for n, (key, outgoing) in enumerate(written["rows"])]
        rest, versions = self._versions.take([*honest, *batch.rows])
        put_versions(self._recommender, self._table, versions)
        self._table.learn_some()
        apply_rows_that_are_sound(self._table, rest, self._latest, counts)
        for name, n in self._rankers.items():
            self.outcomes[f"model-updates: {name}"] += n
        self._rankers.clear()

    def _results(self, batch: Batch) -> None:
        take_results(batch.results, self._experiments.traffic, self._counts("experiment-results"), self._latest)

    def _letters(self, letters: list[Record]) -> None:
        unpacked = originals(letters)
        self.outcomes["dead-letters: left out"] += len(unpacked.left_out)
        self.outcomes["dead-letters: put back"] += sum(map(len, unpacked.messages.values()))


def run(n: int, seed: int, on_progress: Callable[[int], object] = lambda _n: None) -> dict[str, Any]:
    """Run at least n messages; returns how many, what became of them, and what escaped."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    fuzz = Run()
    try:
        while fuzz.n < n:
            with tempfile.TemporaryDirectory() as store:
                fuzz.batch(seed, Path(store))
            seed += 1
            on_progress(fuzz.n)
    finally:
        logging.disable(logging.NOTSET)
    return {"messages": fuzz.n, "outcomes": dict(sorted(fuzz.outcomes.items())), "escapes": fuzz.escapes}
