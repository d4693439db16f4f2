"""Learning while it runs: test, then train; publish what is better, take back what turns out worse.

Examples wait until a whole batch is there, so the steps do not depend on how the stream was cut. A snapshot holds all
of the state: the same examples make the same versions, whatever crashed on the way.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from models.config import OnlineConfig
from models.names import FEATURE_SET, FEATURE_SETS, FUNNEL, STAGES, FunnelName, LearnerName
from models.numeric.arrays import Floats
from models.online.examination import Examination, ExaminationState, rounded
from models.online.guard import Guard, Judged, RankerRole, judged
from models.online.judging import by_gain, by_likelihood
from models.online.kept_chances import KeptChances
from models.online.loss_drift import DriftState, LossDrift
from models.online.published import CALIBRATED, Published, Reliability
from models.online.recalibration import Recalibration
from models.online.rehearsal import Reservoir
from models.rankers.checkpoint import Checkpoint, MissingFeatureError, RetiredError, read_checkpoint
from models.rankers.funnel_learner import FunnelLearner
from models.rankers.inputs import Labelled, SlateExample, collate
from models.rankers.learners import Learner, new_learner, restore_learner
from models.rankers.networks import RetiredNetworkError

_APART = 0x2545F4914F6CDD1D
"""Tells the hashes of a slate's decisions apart."""
FORMAT = 2
_READ_FORMATS = {b"\x01", b"\x02"}


class OnlineRanker:
    """A learner, what it rehearses, and the versions in service and before it.

    Parameters
    ----------
    start : a trained ranker to go on from, which counts as in service; None: the blend is in service.
    """

    def __init__(self, name: LearnerName | FunnelName, config: OnlineConfig, start: Checkpoint | None = None) -> None:
        self.name = name
        self.config = config
        self.learner: Learner = new_learner(name, config.learner, start)
        self._start = start
        self.must_retrain = False
        """Whether it has learned from examples that were taken away since."""
        self.reservoir: Reservoir[SlateExample] = Reservoir(config.reservoir, config.rehearsal_half_life)
        self.pending: list[SlateExample] = []
        self.started_from = start.version if start else None
        self.was_reset = False
        """Whether it was reset, and what it starts from has yet to be published."""
        self.service = start
        self.previous: Checkpoint | None = None
        self.can_roll_back = False
        """Whether `previous` was in service before the version that is."""
        self.guard = Guard(config)
        self.examination = Examination()
        self.recalibration = Recalibration()
        """Of the funnel in service."""
        self.kept_chances = KeptChances()
        self.losses: deque[float] = deque(maxlen=config.guard_slates)
        self.drift = LossDrift()
        self.n_steps = 0
        self.n_drifts = 0
        self.n_alarmed = 0
        """Slates still to come during which the ranker learns as after a change."""
        self.number = 0
        self.place = 0
        """Of the version in service: rises with each decision but another calibration."""
        self.learned_until = 0

    @property
    def n_slates(self) -> int:
        """How many slates were learned from."""
        return self.n_steps * self.config.batch_size

    @property
    def n_decisions(self) -> int:
        """How often it was decided whether a new version is better."""
        return self.n_steps // self.config.publish_every

    @property
    def loss(self) -> float:
        """Mean progressive loss of the newest slates; NaN before there is one."""
        return float(np.mean(self.losses)) if self.losses else float("nan")

    def learn(self, examples: Sequence[SlateExample]) -> list[Published | Reliability]:
        """Take examples; step once a whole batch is there, and say what goes into service."""
        self.pending += examples
        published: list[Published | Reliability] = []
        if self.was_reset:
            self.was_reset = False
            self.number, self.place = self.number + 1, self.place + 1
            published.append(Published(self.service, self.number, False, self.learned_until, {}, place=self.place))
        while len(self.pending) >= self.config.batch_size:
            batch, self.pending = self.pending[: self.config.batch_size], self.pending[self.config.batch_size :]
            self._test(batch)
            self._train(batch)
            if self.n_steps % self.config.publish_every:
                continue
            if self.must_retrain:
                self._retrain()
            if (decided := self._decide()) is not None:
                published.append(decided)
            if self.kept_chances.is_known:
                published.append(Reliability(self.n_decisions, self.learned_until, self.kept_chances.tables.copy()))
        return published

    def forget(self, is_erased: Callable[[SlateExample], bool], is_erased_user: Callable[[int], bool]) -> int:
        """Take away the examples of erased users; say how many. At the next decision the rest is learned from anew.

        Parameters
        ----------
        is_erased_user : by the hash, for what does not know when its slate was made: it goes whole.
        """
        kept = [example for example in self.reservoir.kept if not is_erased(example)]
        waiting = [example for example in self.pending if not is_erased(example)]
        n_learned, n_waiting = len(self.reservoir.kept) - len(kept), len(self.pending) - len(waiting)
        self.reservoir.kept, self.pending = kept, waiting
        self.guard.forget(is_erased_user)
        self.must_retrain = self.must_retrain or n_learned > 0
        return n_learned + n_waiting

    def _retrain(self) -> None:
        """Start over from the first ranker with what is rehearsed, so that no weight comes of what was taken away.

        How the learner did until now says nothing of the new one: the guard judges it from the next slate on.
        """
        self.must_retrain = False
        self.learner = new_learner(self.name, self.config.learner, self._start)
        examples = self.reservoir.draw(self.reservoir.capacity, self.n_steps)
        size = self.config.batch_size
        for start in range(0, len(examples), size):
            self.learner.learn(self._looked_at(collate(examples[start : start + size])))
        self.guard.start_over()
        self.losses.clear()
        self.drift = LossDrift()

    def _test(self, batch: list[SlateExample]) -> None:
        labelled = collate(batch)
        versions = [self.service, *([self.previous] if self.can_roll_back else [])]
        if isinstance(self.learner, FunnelLearner):
            found = by_likelihood(labelled, self.learner, versions)
        else:
            found = by_gain(self._looked_at(labelled), self.learner, versions)
        self.guard.add(judged([example.user for example in batch], found))
        losses = [loss for loss in self._drifting(labelled).tolist() if not np.isnan(loss)]
        self.losses.extend(losses)
        n_changes = sum(self.drift.update(loss) for loss in losses)
        if n_changes:
            # How versions did before the change says nothing about which is better now.
            self.n_drifts += n_changes
            self.guard.start_over()
            self.n_alarmed = self.config.alarm_slates

    def _drifting(self, labelled: Labelled) -> Floats:
        """Return the losses by which drift is noticed; of a funnel its clicks', since each stage has its own level."""
        if labelled.decided is not None and self.name == FUNNEL:
            labelled = replace(labelled, decided=labelled.decided & (np.arange(len(STAGES)) == 0))
        return self.learner.losses(labelled)

    def _looked_at(self, labelled: Labelled) -> Labelled:
        """Say how probable it was that each item was looked at, as far as it is known."""
        assert labelled.positions is not None  # noqa: S101 - `collate` lays them out
        known = np.maximum(self.examination.at(labelled.positions), self.config.min_examination)
        return replace(labelled, examination=known.astype(np.float32))

    def _train(self, batch: list[SlateExample]) -> None:
        config = self.config
        rehearsed, rate = (config.rehearsed / 2, config.alarm_rate) if self.n_alarmed else (config.rehearsed, 1.0)
        self.n_alarmed = max(self.n_alarmed - len(batch), 0)
        self.kept_chances.add(batch)
        batch = [example._replace(chances=()) for example in batch]  # which nothing more is learned from
        old, fresh = self.reservoir.draw(round(rehearsed * len(batch)), self.n_steps), collate(batch)
        if isinstance(self.learner, FunnelLearner):
            self.learner.calibrate(fresh)
            if self.service is not None:
                self.recalibration.add(self.service, fresh)
        self.learner.learn(self._looked_at(collate([*batch, *old])), rate)
        if self.name != FUNNEL:  # which learns of positions by itself
            self.examination.learn(fresh)
        for example in batch:
            # A slate may be decided twice: the second time it may not always take the place of the first.
            self.reservoir.add(example, example.slate ^ example.decided * _APART)
            self.learned_until = max(self.learned_until, example.closed_at)
        self.n_steps += 1

    def _decide(self) -> Published | None:
        guard = self.guard
        if self.can_roll_back and guard.is_better("previous"):
            return self._put_in_service(self.previous, "previous")
        if guard.is_better("learner") and self._may_serve:
            new = self._named(self.learner.checkpoint(), self._evidence("learner"))
            if isinstance(self.learner, FunnelLearner):
                self.recalibration = Recalibration(self.learner.calibration.sums)
            return self._put_in_service(new, "learner")
        guard.end_look()
        if self.name == FUNNEL and self.service and (corrected := self.recalibration.corrected(self.service)):
            return self._recalibrate(corrected)
        return None

    @property
    def _may_serve(self) -> bool:
        """Whether the learner knows something of all that it would say: a purchase is decided long after a click."""
        return not isinstance(self.learner, FunnelLearner) or self.learner.calibration.knows_all

    def _named(self, new: Checkpoint, evidence: dict[str, float]) -> Checkpoint:
        version = f"{self.name}-{self.number + 1}-{new.digest[:8]}"
        return Checkpoint(new.model, version, new.digest, evidence, new.loss)

    def _recalibrate(self, corrected: Checkpoint) -> Published:
        """Let the version in service say the same with other chances; to the guard it is the one that it was."""
        evidence = {"n_slates": float(self.n_slates), CALIBRATED: 1.0}
        self.service = self._named(corrected, evidence)
        self.number += 1
        return Published(self.service, self.number, False, self.learned_until, evidence, place=self.place)

    def _evidence(self, winner: RankerRole) -> dict[str, float]:
        return {
            "loss": self.loss,
            "gain": self.guard.mean(winner),
            "replaced": self.guard.mean("service"),
            "n_judged": len(self.guard.judged),
            "n_slates": self.n_slates,
        }

    def _put_in_service(self, winner: Checkpoint | None, role: RankerRole) -> Published:
        evidence, is_rollback = self._evidence(role), role == "previous"
        # What was taken back is not gone back to.
        self.service, self.previous = winner, None if is_rollback else self.service
        self.can_roll_back = not is_rollback
        if is_rollback:
            self.recalibration = Recalibration()
        self.number, self.place = self.number + 1, self.place + 1
        self.guard.reset()
        examination = () if self.name == FUNNEL else rounded(self.examination.by_position)
        return Published(winner, self.number, is_rollback, self.learned_until, evidence, examination, self.place)

    def snapshot(self) -> bytes:
        """Pack the whole state: about 120 bytes an item that is rehearsed, and the weights."""
        state = _RankerState(
            FEATURE_SET,
            self.started_from,
            self.learner.snapshot(),
            self.reservoir.kept,
            self.reservoir.n_seen,
            self.pending,
            self.service.to_bytes() if self.service else None,
            self.previous.to_bytes() if self.previous else None,
            list(self.guard.judged),
            list(self.losses),
            self.drift.state,
            (self.n_steps, self.n_drifts, self.number, self.learned_until),
            self.can_roll_back,
            self.guard.n_tests,
            self.examination.state,
            self.n_alarmed,
            self.must_retrain,
            self.recalibration.seen.sums.tobytes() if self.name == FUNNEL else None,
            self.kept_chances.tables.tobytes() if self.name == FUNNEL else None,
            self.place,
        )
        return bytes([FORMAT]) + msgspec.msgpack.encode(state)

    @classmethod
    def restore(
        cls,
        packed: bytes,
        name: LearnerName | FunnelName,
        config: OnlineConfig,
        start: Checkpoint | None = None,
        *,
        keep: bool = False,
    ) -> "OnlineRanker":
        """Go on from a snapshot; of the configuration, the learner's own part is the snapshot's.

        What it learned goes on as long as every feature that it looks at is computed; examples that were logged in
        other columns are left out. Where a feature or a kind of network is gone, or another checkpoint is given, the
        ranker is reset: it starts from that checkpoint, which is published, and only the numbers of the versions count
        on.

        Parameters
        ----------
        keep : go on even from another checkpoint's weights: nobody asked for this one, it came with a release.

        Raises
        ------
        ValueError
            Where it is of another format, or damaged.
        """
        if packed[:1] not in _READ_FORMATS:
            raise ValueError(f"a ranker's state of format {packed[:1]!r}: this release reads formats up to {FORMAT}")
        try:
            state = msgspec.msgpack.decode(packed[1:], type=_RankerState)
        except msgspec.DecodeError as error:
            raise ValueError(f"a ranker's state is damaged: {error}") from error
        ranker = cls(name, config, start)
        # Earlier releases had a place for each number.
        ranker.number, ranker.place = state.counts[2], state.counts[2] if state.place is None else state.place
        is_other_start = start is not None and start.version != state.started_from
        if (is_other_start and not keep) or not ranker._take_learned(state):
            ranker.was_reset = True
            return ranker
        ranker.started_from = state.started_from
        if state.feature_set == FEATURE_SET:
            ranker.reservoir = Reservoir(
                config.reservoir, config.rehearsal_half_life, state.rehearsed, state.n_rehearsed
            )
            ranker.pending = state.pending
        if packed[:1] == bytes([FORMAT]):
            # Earlier releases judged by another measure, and did not know where an item had stood.
            ranker.guard = Guard(config, itertools.starmap(Judged, state.judged), state.n_tests)
            ranker.examination = Examination(state.examination)
        ranker.losses.extend(state.losses)
        ranker.drift = LossDrift(state=state.drift)
        ranker.n_steps, ranker.n_drifts, ranker.number, ranker.learned_until = state.counts
        ranker.can_roll_back, ranker.must_retrain = state.can_roll_back, state.must_retrain
        ranker.n_alarmed = state.n_alarmed
        if state.recalibration is not None:
            shape = ranker.recalibration.seen.sums.shape
            ranker.recalibration = Recalibration(np.frombuffer(state.recalibration).reshape(shape))
        if state.kept_chances is not None:
            shape = ranker.kept_chances.tables.shape
            ranker.kept_chances = KeptChances(np.frombuffer(state.kept_chances).reshape(shape))
        return ranker

    def _take_learned(self, state: "_RankerState") -> bool:
        """Take the learner and the versions in service; False where they look at features that are not computed."""
        features = FEATURE_SETS.get(state.feature_set)
        if features is None:
            return False
        try:
            learner = restore_learner(self.name, state.learner, self.config.learner.device, features)
            service, previous = (
                read_checkpoint(version, "the state") if version else None
                for version in (state.service, state.previous)
            )
        except (MissingFeatureError, RetiredError, RetiredNetworkError):
            return False
        self.learner, self.service, self.previous = learner, service, previous
        return True


class _RankerState(NamedTuple):
    feature_set: str
    started_from: str | None
    learner: bytes
    rehearsed: list[SlateExample]
    n_rehearsed: int
    pending: list[SlateExample]
    service: bytes | None
    previous: bytes | None
    judged: list[Any]
    losses: list[float]
    drift: DriftState
    counts: tuple[int, int, int, int]
    can_roll_back: bool
    n_tests: int = 0
    examination: ExaminationState | None = None
    n_alarmed: int = 0
    must_retrain: bool = False
    recalibration: bytes | None = None
    kept_chances: bytes | None = None
    place: int | None = None
