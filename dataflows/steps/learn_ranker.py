"""The step that trains rankers on the outcomes of slates, a ranker a key, and publishes better versions."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import bytewax.operators as op
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.following.erasures import Erasures
from dataflows.records import Outgoing
from dataflows.run.settings import FunnelSettings, RankerSettings
from dataflows.steps.attribute import Attributed
from models.config import OnlineConfig
from models.names import FUNNEL, FunnelName, LearnerName, StageName
from models.online.learner import OnlineRanker
from models.online.outcome import ClosedSlate
from models.online.published import CALIBRATED, Published, Reliability
from models.online.versions import rows_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import SlateExample

log = logging.getLogger(__name__)


ERASED_EVERY = timedelta(seconds=1)
"""How often a ranker looks whether anybody of whom it keeps examples has been erased."""


@dataclass(frozen=True, slots=True)
class LearnRankerStep:
    """What the logic of every ranker shares."""

    counts: Counter[str]
    """Slates learned or without features, versions, rollbacks and drifts are added to it, by name."""
    erasures: Erasures
    closes_after_ms: int
    """How long after it was made a slate was decided, at most."""
    clock: Callable[[], datetime]


class LearnRankerLogic(StatefulBatchLogic[SlateExample, Published | Reliability, bytes]):
    """One ranker: it goes on from its snapshot, so no example trains twice and no version number comes twice.

    Which rankers there are is known to nobody, so erasures do not come as messages: it looks for them.
    """

    def __init__(
        self,
        packed: bytes | None,
        name: LearnerName | FunnelName,
        config: OnlineConfig,
        step: LearnRankerStep,
        start: Checkpoint | None = None,
        *,
        keep: bool = True,
    ) -> None:
        self._erasures, self._closes_after_ms, self._clock = step.erasures, step.closes_after_ms, step.clock
        self._known = -1
        self._look_at = step.clock()
        if packed is None:
            self._ranker = OnlineRanker(name, config, start)
        else:
            self._ranker = OnlineRanker.restore(packed, name, config, start, keep=keep)
        self._name = name
        self._counts = step.counts

    def on_batch(self, values: list[SlateExample]) -> tuple[Iterable[Published | Reliability], bool]:
        """Test, then train; emit the versions that go into service."""
        self._forget()
        values = [example for example in values if not self._is_erased(example)]
        ranker, counts = self._ranker, self._counts
        n_slates, n_drifts, n_decisions = ranker.n_slates, ranker.n_drifts, ranker.n_decisions
        published = ranker.learn(values)
        counts["learned_slates"] += ranker.n_slates - n_slates
        counts["ranker_drifts"] += ranker.n_drifts - n_drifts
        for decision in published:
            if isinstance(decision, Reliability):
                continue
            counts["ranker_rollbacks" if decision.is_rollback else "ranker_versions"] += 1
            _log(decision)
        if ranker.n_decisions > n_decisions:
            log.info("%s: progressive loss %.4f after %d slates", self._name, ranker.loss, ranker.n_slates)
        return published, self.RETAIN

    def on_notify(self) -> tuple[Iterable[Published | Reliability], bool]:
        """Look for erasures."""
        self._look_at = self._clock() + ERASED_EVERY
        self._forget()
        return (), self.RETAIN

    def notify_at(self) -> datetime:
        """Return when to look again."""
        return self._look_at

    def _is_erased(self, example: SlateExample) -> bool:
        """Tell whether an example's slate was made before its user asked to be forgotten."""
        return example.closed_at - self._closes_after_ms <= self._erasures.until_hash(example.user)

    def _forget(self) -> None:
        if self._known != self._erasures.version:
            self._known = self._erasures.version
            self._counts["erased_examples"] += self._ranker.forget(
                self._is_erased, lambda user: self._erasures.until_hash(user) > 0
            )

    def snapshot(self) -> bytes:
        """Pack the ranker."""
        return self._ranker.snapshot()


def _log(decision: Published) -> None:
    version = decision.checkpoint.version if decision.checkpoint else "blend"
    evidence = decision.evidence
    if CALIBRATED in evidence:
        log.info("%s goes into service: the rates have moved, the weights are those before it", version)
        return
    if not evidence:
        log.info("%s goes into service: the ranker was reset and starts from it", version)
        return
    log.info(
        "%s %s: gain %.4f on %d slates, where the version before it had %.4f",
        version,
        "comes back" if decision.is_rollback else "goes into service",
        evidence["gain"],
        evidence["n_judged"],
        evidence["replaced"],
    )


def learn_ranker(
    step_id: str,
    closed: KeyedStream[Attributed],
    settings: RankerSettings,
    step: LearnRankerStep,
    start: Checkpoint | None,
    *,
    keep: bool,
) -> KeyedStream[Outgoing]:
    """Train on decided slates: (row key, Outgoing).

    Parameters
    ----------
    settings : which ranker, and how it learns; with `per_arm` one for each variant, called `name.variant`, learns on
        its own slates alone.
    start : a trained ranker to start from.
    keep : keep what a snapshot has learned, even where it started from another ranker than `start`.

    Raises
    ------
    ValueError : no ranker learns.
    """
    name = settings.name
    if name == "none":
        raise ValueError("no ranker learns: name one in EDDY_RANKER__NAME")

    def named(batch: list[tuple[str, Attributed]]) -> list[tuple[str, SlateExample]]:
        examples = [slate.example() for _, slate in batch if isinstance(slate, ClosedSlate) and slate.is_final]
        step.counts["without_features"] += sum(example is None for example in examples)
        return [
            (f"{name}.{example.variant}" if settings.per_arm and example.variant else name, example)
            for example in examples
            if example is not None
        ]

    examples = op.flat_map_batch(f"{step_id}_examples", closed, named)  # (ranker, SlateExample)
    published = op.stateful_batch(
        step_id, examples, lambda packed: LearnRankerLogic(packed, name, settings, step, start, keep=keep)
    )  # (ranker, Published)
    return op.flat_map(f"{step_id}_rows", published, _rows)


def learn_funnel(
    step_id: str,
    closed: KeyedStream[Attributed],
    settings: FunnelSettings,
    stage_of: Mapping[str, StageName],
    device: str,
    step: LearnRankerStep,
) -> KeyedStream[Outgoing]:
    """Learn how probable each stage is, of what is decided of slates: (row key, Outgoing).

    Parameters
    ----------
    stage_of : the stage that each event type stands for.
    device : where the network computes, as PyTorch names it.
    """
    config = OnlineConfig(learning_rate=settings.learning_rate, publish_every=settings.publish_every, device=device)

    def decided(batch: list[tuple[str, Attributed]]) -> list[tuple[str, SlateExample]]:
        examples = [slate.example(stage_of) for _, slate in batch if isinstance(slate, ClosedSlate)]
        return [(FUNNEL, example) for example in examples if example is not None]

    examples = op.flat_map_batch(f"{step_id}_examples", closed, decided)  # ("funnel", SlateExample)
    published = op.stateful_batch(
        step_id, examples, lambda packed: LearnRankerLogic(packed, FUNNEL, config, step)
    )  # ("funnel", Published)
    return op.flat_map(f"{step_id}_rows", published, _rows)


def _rows(keyed: tuple[str, Published | Reliability]) -> list[tuple[str, Outgoing]]:
    ranker, published = keyed
    return [
        (row.key, Outgoing(row.key, f"{row.key}@{published.number}", row.value)) for row in rows_of(ranker, published)
    ]
