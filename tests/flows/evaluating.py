"""The evaluate flow in memory, and records with defaults for it."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, run_main

from dataflows.evaluate import EvaluateInputs, EvaluateOutputs, build
from dataflows.following.erasures import Erasures
from dataflows.records import Outgoing, Record
from dataflows.run.settings import EvaluateSettings, Settings
from models.config import AttributionConfig
from models.experiments.assign.assignment import Experiments
from models.experiments.assign.declaration import Analysis, Experiment, Variant
from models.strategy import Strategy

NOW = 1_700_000_000_000
SECOND = 1_000
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
"""A clock that stands here, though after all that happens, publishes whenever something has changed."""
FAR_AHEAD = datetime(2100, 1, 1, tzinfo=UTC)
"""A clock that stands here publishes only at the end of the input."""
EXPERIMENT = Experiment(
    "page",
    (Variant("control", 1.0, Strategy()), Variant("treatment", 1.0, Strategy(diversity=0.5))),
    analysis=Analysis(goal="ctr"),
)


def record(second: int, user: str, message: dict[str, Any] | None) -> Record:
    value = None if message is None else orjson.dumps(message)
    return Record(0, second, NOW + second * SECOND, user.encode(), value)


def an_event(second: int, user: str = "u-1", item: str = "a", **fields: Any) -> Record:
    message = {
        "event_id": f"e-{user}-{second}",
        "user_id": user,
        "item_id": item,
        "event_type": "click",
        "timestamp": NOW + second * SECOND,
    }
    return record(second, user, message | fields)


def a_slate(second: int, user: str = "u-1", items: str = "abc", **fields: Any) -> Record:
    message = {
        "recommendation_id": f"r-{user}-{second}",
        "user_id": user,
        "created_at": NOW + second * SECOND,
        "trigger_id": f"e-{user}-{second}",
        "items": [{"item_id": item} for item in items],
    }
    return record(second, user, message | fields)


def an_assignment(user: str = "u-1", variant: str = "control", second: int = 0, **fields: Any) -> Record:
    message = {
        "user_id": user,
        "experiment": EXPERIMENT.name,
        "variant": variant,
        "bucket": 0.25,
        "assigned_at": NOW + second * SECOND,
        "digest": EXPERIMENT.digest(),
    }
    return record(second, user, message | fields)


class Run:
    """A flow that may be run several times over one recovery store; what it wrote gathers."""

    def __init__(
        self,
        events: list[Any] | None = None,
        slates: list[Any] | None = None,
        assignments: list[Any] | None = None,
        now: datetime = LONG_AGO,
        store: Path | None = None,
        batch_size: int = 10,
        impressions: Literal["slate", "event"] = "slate",
        erasures: list[Any] | None = None,
        **evaluate: Any,
    ) -> None:
        self.inputs = [events or [], slates or [], assignments or [], erasures or []]
        self.erased, self.receipts = Erasures(), []
        self.settings = Settings(
            evaluate=EvaluateSettings(**evaluate), attribution=AttributionConfig(impressions=impressions)
        )
        self.now, self.batch_size = now, batch_size
        self.written: list[tuple[str, Outgoing]] = []
        self.letters: list[tuple[str, Outgoing]] = []
        self.counts: Counter[str] = Counter()
        self.recovery: dict[str, Any] = {}
        if store is not None:
            store.mkdir()
            init_db_dir(store, 2)
            self.recovery = {"recovery_config": RecoveryConfig(store)}

    def flow(self) -> Dataflow:
        return build(
            EvaluateInputs(*(TestingSource(records, self.batch_size) for records in self.inputs)),
            EvaluateOutputs(TestingSink(self.written), TestingSink(self.letters), TestingSink(self.receipts)),
            self.settings,
            Experiments([EXPERIMENT]),
            lambda: self.now,
            self.counts,
            self.erased,
        )

    def run(self) -> "Run":
        run_main(self.flow(), epoch_interval=timedelta(0), **self.recovery)
        return self

    @property
    def result(self) -> dict[str, Any]:
        """The newest result up to rounding, without the looks: when they fall depends on batches."""
        key, outgoing = self.written[-1]
        assert key == outgoing.key == EXPERIMENT.name
        assert outgoing.value is not None
        result: dict[str, Any] = _rounded(orjson.loads(outgoing.value))
        del result["history"]
        return result

    def value(self, metric: str, variant: str = "control") -> float:
        [found] = [v for v in self.result["variants"] if v["variant"] == variant]
        return float(next(m["value"] for m in found["metrics"] if m["metric"] == metric))

    @property
    def users(self) -> dict[str, int]:
        return {variant["variant"]: variant["users"] for variant in self.result["variants"]}


def _rounded(value: Any) -> Any:
    """Round all numbers, since sums of the same numbers in another order differ in their last digits."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 9) if isinstance(value, float) else value


def many(n_users: int = 12, n_slates: int = 4) -> tuple[list[Record], list[Record], list[Record]]:
    """Users who take the second item of each third slate; those of the treatment of each second one."""
    events, slates, assignments = [], [], []
    for second in range(n_slates):
        for number in range(n_users):
            user, at = f"u-{number}", 10 * second + 1
            every = 2 if number % 2 else 3
            item = "b" if second % every == 0 else "z"
            events += [an_event(at, user), an_event(at + 5, user, item)]
            slates += [a_slate(at, user), a_slate(at + 5, user, "def")]
            if second == 0:
                assignments.append(an_assignment(user, "treatment" if number % 2 else "control", at))
    return events, slates, assignments
