"""What all users of an experiment add up to: bounded whatever their number."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from msgspec import Struct, field, msgpack

from models.experiments.judge.coverage import add_items, no_items
from models.experiments.judge.journal import Journal
from models.experiments.judge.metrics import METRICS
from models.experiments.judge.moments import N_VALUES, gram
from models.experiments.judge.user_metrics import Change, Values
from models.messages import Decision, ResultPoint, TrafficPoint
from models.numeric.arrays import Bytes, Doubles, Int64s

FORMAT = 1
MAX_POINTS = 128
"""Looks that are remembered; of more, every second is forgotten."""

_SHAPE = (len(METRICS), N_VALUES + 1, N_VALUES + 1)


class ArmDelta(NamedTuple):
    """What a batch changes in one variant."""

    sums: Doubles
    """(M, 5, 5) to be added."""
    items: Int64s
    """Shown."""


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
            _sums([change.new for change in group]) - _sums([change.old for change in group]),
            np.array([item for change in group for item in change.items], np.int64),
        )
        for variant, group in by_variant.items()
    }


def _moved(changes: list[Change]) -> Doubles:
    """Add the shares of users who came, take away those of users who left."""
    moved = np.zeros(0)
    for change in changes:
        sign = (change.old is None) - (change.new is None)
        if change.shares is not None and sign:
            moved = _plus(moved, sign * np.array(change.shares))
    return moved


def _plus(some: Doubles, others: Doubles) -> Doubles:
    """Add two sums of shares, either of which may be empty; where they are not as many, the first counts alone.

    Of an experiment that is declared all are as many; what another says of its own, nobody has checked.
    """
    if not len(some):
        return others
    return some + others if len(some) == len(others) else some


def _sums(users: list[Values | None]) -> Doubles:
    known = [values for values in users if values is not None]
    return np.asarray(gram(np.array(known)).sum(axis=0)) if known else np.zeros(_SHAPE)


class Arm:
    """One variant's users."""

    def __init__(self, sums: Doubles, items: Bytes) -> None:
        self.sums = sums
        """(M, 5, 5)"""
        self.items = items
        """Registers of the items shown (`models.experiments.judge.coverage`)."""

    @property
    def users(self) -> int:
        """How many there are."""
        return round(float(self.sums[0, 0, 0]))


class _Packed(Struct, array_like=True):
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
        self.arms = {
            variant: Arm(_read_sums(sums), np.frombuffer(items, np.uint8).copy())
            for variant, (sums, items) in state.arms.items()
        }
        self._n_looks, self._every = state.n_looks, state.every

    def add(self, delta: TallyDelta) -> None:
        """Add what a batch changes."""
        self.n_changes += delta.n_changes
        self.at = max(self.at, delta.at)
        self.moved = _plus(self.moved, delta.moved)
        for variant, change in delta.arms.items():
            arm = self.arm(variant)
            arm.sums += change.sums
            add_items(arm.items, change.items)

    def arm(self, variant: str) -> Arm:
        """Return a variant's users, nobody at first."""
        return self.arms.setdefault(variant, Arm(np.zeros(_SHAPE), no_items()))

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
        arms = {variant: (arm.sums.tobytes(), arm.items.tobytes()) for variant, arm in self.arms.items()}
        state = _Packed(
            self.n_changes, self.at, arms, self.points, self._n_looks, self._every, self.decision,
            self.moved.tolist(), self.traffic,
        )  # fmt: skip
        return bytes([FORMAT]) + msgpack.encode(state)


def _read_sums(packed: bytes) -> Doubles:
    """Read (M, 5, 5) sums; of a metric that an upgrade has added, each user so far has done nothing."""
    held = np.frombuffer(packed).reshape(-1, *_SHAPE[1:])
    n_users = held[0, 0, 0]
    sums: Doubles = n_users * gram(np.array(Journal().values()))
    sums[: len(held)] = held
    return sums


def _unpack(packed: bytes) -> _Packed:
    if packed[:1] != bytes([FORMAT]):
        raise ValueError(f"a tally of format {packed[0]} cannot be read; this release writes {FORMAT}")
    return msgpack.decode(packed[1:], type=_Packed)
