"""One user's outcomes, in whatever order the topics deliver what was observed."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct, field, msgpack

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.journal import Journal
from models.experiments.judge.observations import Exposure, Observation, SlateSent, order

MAX_OPEN = 64
"""Newest observations of a user between which earlier ones still find their place."""
FORMAT = 1

Values = list[list[float]]
"""(M, 4) of a user, in the order of METRICS."""


class Change(NamedTuple):
    """What is to be taken away from an arm's sums, and what to be added in its place."""

    experiment: str
    digest: str
    variant: str
    at: int
    """Event time of the user's newest observation."""
    old: Values | None
    """None: the user is new to the arm."""
    new: Values | None
    """None: the user has left it for good."""
    items: tuple[int, ...] = ()
    """Shown now: for coverage."""
    shares: tuple[float, ...] | None = None
    """By which the user was assigned, where they were not the declared ones."""


class _PackedUser(Struct, array_like=True):
    settled: Journal = field(default_factory=Journal)
    settled_to: tuple[int, int, int] = (-1, 0, 0)
    """Place of the last settled observation; what comes before it now is late."""
    open: list[Observation] = field(default_factory=list)
    newest_at: int = 0
    told: Values | None = None
    """What the arm holds of the user."""
    told_of: Exposure | None = None


class UserOutcomes:
    """Takes observations in any order, and tells how the user's outcomes change.

    The same observations end in the same outcomes, in whatever order they come, as long as none is overtaken by more
    than MAX_OPEN others. Older ones are settled: they are applied for good, and what comes before them is late. An
    exposure alone is never too late: a user who was left out would make the variants' numbers lie.

    Parameters
    ----------
    impressions : what says that an item was shown: its slate, or an `impression` event of the platform.
    packed : what `pack` returned.
    """

    def __init__(self, config: OutcomeConfig, impressions: ImpressionKind, packed: bytes | None = None) -> None:
        self._config = config
        self._impressions: ImpressionKind = impressions
        self._state = _PackedUser() if packed is None else _unpack(packed)
        self._view = self._state.settled.copy()
        for observation in self._state.open:
            self._apply(self._view, observation)

    def observe(self, observations: Iterable[Observation]) -> Counter[str]:
        """Take in observations; returns how many could not be used, by reason: `late` or `repeated`."""
        unused: Counter[str] = Counter()
        in_order = True
        for observation in observations:
            spot = self._spot(observation)
            if isinstance(spot, str):
                unused[spot] += 1
                continue
            state = self._state
            state.newest_at = max(state.newest_at, observation.at)
            if spot < 0:
                state.settled.forget_outcomes()
                self._apply(state.settled, observation)
                in_order = False
                continue
            in_order = in_order and spot == len(state.open)
            state.open.insert(spot, observation)
            if in_order:
                self._apply(self._view, observation)
            self._settle()
        if not in_order:
            self._view = self._state.settled.copy()
            for observation in self._state.open:
                self._apply(self._view, observation)
        return unused

    def _apply(self, journal: Journal, observation: Observation) -> None:
        journal.apply(observation, self._config, self._impressions)

    def _spot(self, observation: Observation) -> int | Literal["late", "repeated"]:
        """Find an observation's place among the open ones; -1 is behind all that is settled, whatever its time."""
        state, place = self._state, order(observation)
        if place <= state.settled_to:
            return -1 if isinstance(observation, Exposure) and not self._is_exposed else "late"
        spot = bisect_left(state.open, place, key=order)
        known = spot < len(state.open) and order(state.open[spot]) == place
        return "repeated" if known else spot

    @property
    def _is_exposed(self) -> bool:
        state = self._state
        return state.settled.exposed is not None or any(isinstance(known, Exposure) for known in state.open)

    def change(self, observations: Iterable[Observation]) -> Change | None:
        """Tell what has changed in the user's arm since the last time; None where nothing has.

        Parameters
        ----------
        observations : what was taken in since.
        """
        state, exposed = self._state, self._view.exposed
        if exposed is None:
            return None
        outcome = self._view.outcome()
        old = state.told if state.told_of is not None and state.told_of.arm == exposed.arm else None
        items = tuple({item for observation in observations for item in self._new_items(observation)})
        if outcome == old and not items:
            return None
        state.told, state.told_of = outcome, exposed
        return Change(*exposed.arm, state.newest_at, old, outcome, items, exposed.shares)

    def _new_items(self, observation: Observation) -> tuple[int, ...]:
        """Return what was shown since the exposure and may not have been told; to tell it twice does no harm."""
        if isinstance(observation, Exposure):
            return tuple(item for slate in self._view.showings for item in slate.items)
        exposed = self._view.exposed
        if isinstance(observation, SlateSent) and exposed is not None and observation.at >= exposed.at:
            return observation.items
        return ()

    def withdraw(self) -> Change | None:
        """Take the user out of the arm, because of an erasure."""
        told, of = self._state.told, self._state.told_of
        if told is None or of is None:
            return None
        return Change(*of.arm, self._state.newest_at, told, None, shares=of.shares)

    def pack(self) -> bytes:
        """Pack the state: a version byte and MessagePack."""
        return bytes([FORMAT]) + msgpack.encode(self._state)

    def _settle(self) -> None:
        state = self._state
        if len(state.open) > MAX_OPEN:
            oldest = state.open.pop(0)
            self._apply(state.settled, oldest)
            state.settled_to = order(oldest)


def _unpack(packed: bytes) -> _PackedUser:
    if packed[:1] != bytes([FORMAT]):
        raise ValueError(f"outcomes of format {packed[0]} cannot be read; this release writes {FORMAT}")
    return msgpack.decode(packed[1:], type=_PackedUser)
