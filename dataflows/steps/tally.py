"""The steps that add up users' metrics by experiment, and publish the results."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import bytewax.operators as op
import msgspec
import xxhash
from bytewax.operators import KeyedStream, StatefulBatchLogic

from dataflows.codecs import encode
from dataflows.records import Outgoing
from models.experiments.assign.declaration import Experiment
from models.experiments.judge.results import look
from models.experiments.judge.tally import Tally, TallyDelta, add_up_changes
from models.experiments.judge.user_metrics import Change
from models.messages import ErasureReceipt


@dataclass(frozen=True, slots=True)
class TallyConfig:
    """How results are published."""

    experiments: Mapping[str, Experiment]
    """Those declared now, by their digest."""
    impressions: str
    """What counts as one; shown in each result."""
    publish_every: timedelta
    """Changes within this time are published once."""


class _PackedTally(msgspec.Struct, array_like=True):
    experiment: str = ""
    digest: str = ""
    published: int = 0
    """Changes in the last result."""
    tally: bytes | None = None


class TallyLogic(StatefulBatchLogic[TallyDelta, Outgoing, bytes]):
    """One declaration of an experiment.

    One that is not declared now is added up as well, in case it will be again, but no result of it is published.
    """

    def __init__(
        self, packed: bytes | None, config: TallyConfig, clock: Callable[[], datetime], counts: Counter[str]
    ) -> None:
        self._state = _PackedTally() if packed is None else msgspec.msgpack.decode(packed, type=_PackedTally)
        self._tally = Tally(self._state.tally)
        self._config = config
        self._clock = clock
        self._counts = counts
        self._publish_at = clock() if self._has_changed else None

    @property
    def _has_changed(self) -> bool:
        return self._tally.n_changes > self._state.published

    def on_batch(self, values: list[TallyDelta]) -> tuple[Iterable[Outgoing], bool]:
        """Add up; publish later."""
        for delta in values:
            self._state.experiment, self._state.digest = delta.experiment, delta.digest
            self._tally.add(delta)
            if delta.digest not in self._config.experiments:
                self._counts["undeclared"] += delta.n_changes
        if self._publish_at is None:
            self._publish_at = self._clock() + self._config.publish_every
        return (), self.RETAIN

    def on_notify(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish what has changed."""
        self._publish_at = None
        return self._publish(), self.RETAIN

    def on_eof(self) -> tuple[Iterable[Outgoing], bool]:
        """Publish what has changed."""
        return self.on_notify()

    def notify_at(self) -> datetime | None:
        """Return when to publish; None where nothing has changed."""
        return self._publish_at

    def snapshot(self) -> bytes:
        """Pack the sums."""
        self._state.tally = self._tally.pack()
        return msgspec.msgpack.encode(self._state)

    def _publish(self) -> list[Outgoing]:
        experiment = self._config.experiments.get(self._state.digest)
        if experiment is None or not self._has_changed:
            return []
        self._state.published = self._tally.n_changes
        result = look(self._tally, experiment, self._config.impressions)
        value = encode(result)
        # Named by its content, as files are not written twice; on Kafka the newest counts, and it may be written again.
        return [Outgoing(experiment.name, f"{experiment.name}@{xxhash.xxh3_64_hexdigest(value)}", value)]


def add_up_by_experiment(step_id: str, changes: KeyedStream[Change | ErasureReceipt]) -> KeyedStream[TallyDelta]:
    """Add up a batch's changes by experiment and declaration: (experiment@digest, TallyDelta)."""

    def mapper(keyed: list[tuple[str, Change | ErasureReceipt]]) -> list[tuple[str, TallyDelta]]:
        deltas = add_up_changes(change for _, change in keyed if isinstance(change, Change))
        return [(f"{delta.experiment}@{delta.digest}", delta) for delta in deltas]

    return op.flat_map_batch(step_id, changes, mapper)


def tally(
    step_id: str,
    deltas: KeyedStream[TallyDelta],
    config: TallyConfig,
    clock: Callable[[], datetime],
    counts: Counter[str],
) -> KeyedStream[Outgoing]:
    """Add up each experiment and publish its results: (experiment, Outgoing)."""
    results = op.stateful_batch(step_id, deltas, lambda packed: TallyLogic(packed, config, clock, counts))
    return op.map(f"{step_id}_results", results, lambda keyed: (keyed[1].key, keyed[1]))
