"""What all users of an experiment add up to: bounded whatever their number."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field, msgpack

from models.experiments.judge.coverage import add_items, no_items
from models.experiments.judge.journal import COUNTS, Journal, Versions
from models.experiments.judge.moments import gram
from models.experiments.judge.sums import SHAPE, Sums, sums_of
from models.experiments.judge.user_metrics import Change
from models.messages import Decision, ResultPoint, TrafficPoint
from models.numeric.arrays import Bytes, Doubles, Int64s

FORMAT = 2
"""Of format 1 everything is read, see `Tally.is_old`."""
MAX_POINTS = 128
"""Looks that are remembered; of more, every second is forgotten."""
MAX_VERSIONS = 16
"""Versions of rankers that are counted in a variant: the newest."""


class ArmDelta(NamedTuple):
    """What a batch changes in one variant."""

    sums: dict[int, Sums]
    """To be added, by the event time from which its users are judged."""
    items: Int64s
    """Shown."""
    versions: Versions
    """To be added to the counts of rankers' versions."""


class TallyDelta(NamedTuple):
    """What a batch changes in one declaration of an experiment."""

    experiment: str
    digest: str
    at: int
    """Event time of the newest change."""
    n_changes: int
    arms: dict[str, ArmDelta]
    moved: Doubles
    """(V,) shares of the users who were assigned by others than the declared ones, summed; (0,) without any."""


def add_up_changes(changes: Iterable[Change]) -> list[TallyDelta]:
    """Add up users' changes by experiment and declaration, so that few messages travel."""
    grouped: defaultdict[tuple[str, str], list[Change]] = defaultdict(list)
    for change in changes:
        grouped[change.experiment, change.digest].append(change)
    return [
        TallyDelta(experiment, digest, max(change.at for change in group), len(group), _arms(group), _moved(group))
        for (experiment, digest), group in grouped.items()
    ]


def _arms(changes: list[Change]) -> dict[str, ArmDelta]:
    by_variant: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_variant[change.variant].append(change)
    return {
        variant: ArmDelta(
            {due_at: _sums(group, due_at) for due_at in {change.due_at for change in group}},
            np.array([item for change in group for item in change.items], np.int64),
            _versions(group),
        )
        for variant, group in by_variant.items()
    }


def _sums(changes: list[Change], due_at: int) -> Sums:
    """Add up the new values of users who are due together, and take away their old ones."""
    due = [change for change in changes if change.due_at == due_at]
    found = sums_of([(change.new, change.weight) for change in due if change.new is not None])
    found.add(sums_of([(change.old, change.weight) for change in due if change.old is not None]), -1)
    return found


def _versions(changes: list[Change]) -> Versions:
    added: Versions = {}
    for change in changes:
        add_versions(added, change.versions)
    return added


def add_versions(counts: Versions, added: Versions) -> None:
    """Add counts to counts, in place."""
    for model, more in added.items():
        held = counts.setdefault(model, [0] * len(COUNTS))
        held[:] = [some + others for some, others in zip(held, more, strict=True)]


def _moved(changes: list[Change]) -> Doubles:
    """Add the shares of users who came, take away those of users who left."""
    moved = np.zeros(0)
    for change in changes:
        sign = (change.old is None) - (change.new is None)
        if sign and change.shares is not None:
            moved = _plus(moved, sign * np.array(change.shares))
    return moved


def _plus(some: Doubles, others: Doubles) -> Doubles:
    """Add two sums of shares, either of which may be empty; where they are not as many, the first counts alone.

    Of an experiment that is declared all are as many; what another says of its own, nobody has checked.
    """
    if not len(some):
        return others
    return some + others if len(some) == len(others) else some


class Arm:
    """One variant's users."""

    def __init__(self, judged: Sums, young: dict[int, Sums], items: Bytes, versions: Versions) -> None:
        self.judged = judged
        """Of the users who have reached the age at which they are judged."""
        self.young = young
        """Of the others, by the event time at which they will have."""
        self.items = items
        """Registers of the items shown (`models.experiments.judge.coverage`)."""
        self.versions = versions
        """Counts of rankers' versions, of the newest."""

    @property
    def users(self) -> int:
        """How many there are, judged or not."""
        return self.judged.users + sum(group.users for group in self.young.values())

    def add(self, change: ArmDelta, at: int) -> None:
        """Add what a batch changes; judge the users who have reached their age at `at`."""
        for due_at, sums in change.sums.items():
            (self.judged if due_at <= at else self.young.setdefault(due_at, Sums())).add(sums)
        add_items(self.items, change.items)
        # What comes late of a version that has been left out is left out too.
        known = {model: more for model, more in change.versions.items() if model in self.versions or more[0] > 0}
        add_versions(self.versions, known)
        for oldest in list(self.versions)[:-MAX_VERSIONS]:
            del self.versions[oldest]

    def judge(self, at: int) -> None:
        """Judge the users who have reached their age."""
        for due_at in [due_at for due_at in self.young if due_at <= at]:
            self.judged.add(self.young.pop(due_at))


class _PackedSums(Struct, array_like=True):
    users: int
    grams: bytes
    tail: dict[int, bytes]
    spent_before: dict[int, int]


class _PackedArm(Struct, array_like=True):
    judged: _PackedSums
    young: dict[int, _PackedSums]
    items: bytes
    versions: Versions


class _Packed(Struct, array_like=True):
    n_changes: int = 0
    at: int = 0
    arms: dict[str, _PackedArm] = field(default_factory=dict)
    points: list[ResultPoint] = field(default_factory=list)
    n_looks: int = 0
    every: int = 1
    decision: Decision | None = None
    moved: list[float] = field(default_factory=list)
    traffic: list[TrafficPoint] = field(default_factory=list)
    is_old: bool = False
    is_unweighted: bool = False


class _Packed1(Struct, array_like=True):
    """Format 1: one sum a metric, of users who all counted for 1."""

    n_changes: int = 0
    at: int = 0
    arms: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    points: list[ResultPoint] = field(default_factory=list)
    n_looks: int = 0
    every: int = 1
    decision: Decision | None = None
    moved: list[float] = field(default_factory=list)
    traffic: list[TrafficPoint] = field(default_factory=list)


class Tally:
    """One declaration of an experiment."""

    def __init__(self, packed: bytes | None = None) -> None:
        state = _Packed() if packed is None else _unpack(packed)
        self.n_changes, self.at, self.decision = state.n_changes, state.at, state.decision
        self.points = state.points
        self.moved = np.array(state.moved)
        """(V,) as `TallyDelta.moved`."""
        self.traffic = state.traffic
        """Shares that were asked for, the oldest first."""
        self.arms = {variant: _read_arm(arm) for variant, arm in state.arms.items()}
        self.is_old = state.is_old
        """Whether it was begun by a release that kept no tail: then no value is winsorised."""
        self.is_unweighted = state.is_unweighted
        """Whether such a release had moved the traffic: its users count for 1 each, so nothing more can be decided."""
        self._n_looks, self._every = state.n_looks, state.every

    def add(self, delta: TallyDelta) -> None:
        """Add what a batch changes."""
        self.n_changes += delta.n_changes
        self.at = max(self.at, delta.at)
        self.moved = _plus(self.moved, delta.moved)
        for variant, change in delta.arms.items():
            self.arm(variant).add(change, self.at)
        for arm in self.arms.values():
            arm.judge(self.at)

    def arm(self, variant: str) -> Arm:
        """Return a variant's users, nobody at first."""
        return self.arms.setdefault(variant, Arm(Sums(), {}, no_items(), {}))

    def expected(self, planned: Doubles) -> Doubles:
        """Return how many users each variant would have, had they fallen by the shares that were in force: (V,).

        Parameters
        ----------
        planned : (V,) shares of the users who were assigned as declared.
        """
        n_moved = self.moved.sum()
        as_planned = sum(arm.users for arm in self.arms.values()) - n_moved
        return _plus(as_planned * planned, self.moved)

    def remember(self, point: ResultPoint) -> None:
        """Keep a look; the looks that are kept are evenly spread, and at most MAX_POINTS."""
        if self._n_looks % self._every == 0:
            self.points.append(point)
        self._n_looks += 1
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]
            self._every *= 2

    def pack(self) -> bytes:
        """Pack the state: a version byte and MessagePack."""
        state = _Packed(
            self.n_changes, self.at, {variant: _packed_arm(arm) for variant, arm in self.arms.items()}, self.points,
            self._n_looks, self._every, self.decision, self.moved.tolist(), self.traffic, self.is_old,
            self.is_unweighted,
        )  # fmt: skip
        return bytes([FORMAT]) + msgpack.encode(state)


def _packed_arm(arm: Arm) -> _PackedArm:
    young = {due_at: _packed_sums(group) for due_at, group in arm.young.items()}
    return _PackedArm(_packed_sums(arm.judged), young, arm.items.tobytes(), arm.versions)


def _packed_sums(sums: Sums) -> _PackedSums:
    tail = {spent: part.tobytes() for spent, part in sums.tail.items()}
    return _PackedSums(sums.users, sums.grams.tobytes(), tail, sums.spent_before)


def _read_arm(packed: _PackedArm) -> Arm:
    young = {due_at: _read_sums(group) for due_at, group in packed.young.items()}
    return Arm(_read_sums(packed.judged), young, np.frombuffer(packed.items, np.uint8).copy(), packed.versions)


def _read_sums(packed: _PackedSums) -> Sums:
    """Read sums; of a metric that an upgrade has added, each user so far has done nothing."""
    held = np.frombuffer(packed.grams).reshape(SHAPE[0], -1, *SHAPE[2:])
    nothing = gram(np.array(Journal().values()))
    grams = held[:, :1, :1, :1] * nothing  # as many users as there are, at what they count for
    grams[:, : held.shape[1]] = held
    tail = {spent: np.frombuffer(part).reshape(2, *SHAPE[2:]).copy() for spent, part in packed.tail.items()}
    return Sums(packed.users, grams, tail, packed.spent_before)


def _unpack(packed: bytes) -> _Packed:
    if packed[:1] == b"\x01":
        old = msgpack.decode(packed[1:], type=_Packed1)
        arms = {variant: _arm_of_format_1(*arm) for variant, arm in old.arms.items()}
        return _Packed(
            old.n_changes, old.at, arms, old.points, old.n_looks, old.every, old.decision, old.moved, old.traffic,
            is_old=True, is_unweighted=any(old.moved),
        )  # fmt: skip
    if packed[:1] != bytes([FORMAT]):
        raise ValueError(f"a tally of format {packed[0]} cannot be read; this release writes {FORMAT}")
    return msgpack.decode(packed[1:], type=_Packed)


def _arm_of_format_1(grams: bytes, items: bytes) -> _PackedArm:
    """Let everybody count for 1: the sums by the weights' squares are those by the weights."""
    users = round(np.frombuffer(grams)[0])
    return _PackedArm(_PackedSums(users, 2 * grams, {}, {}), {}, items, {})
