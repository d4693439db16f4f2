"""One user's metrics, in whatever order the topics deliver the observations."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct, field, msgpack

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.journal import Journal, zero_pairs
from models.experiments.judge.metrics import METRICS
from models.experiments.judge.observations import Exposure, Observation, SlateSent, order

MAX_OPEN = 64
"""Newest observations of a user among which an earlier one is still put in order."""
FORMAT = 1

Values = list[list[float]]
"""(M, 4) of a user, in the order of METRICS."""


class Change(NamedTuple):
    """How a user's values change an arm's sums: the old ones are taken away, the new ones added."""

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
    """`order` of the last settled observation; what comes before it now is late."""
    open: list[Observation] = field(default_factory=list)
    newest_at: int = 0
    reported: Values | None = None
    """What the arm's sums hold of the user."""
    reported_for: Exposure | None = None


class UserMetrics:
    """Takes observations in any order, and says how the user's values change.

    The same observations give the same values, in whatever order they come, as long as none is overtaken by more than
    MAX_OPEN others. Older ones are settled: they are applied for good, and what comes before them is late. Only a first
    exposure is never too late: a user who was left out would falsify the variants' numbers of users.

    Parameters
    ----------
    impressions : what says that an item was shown: its slate, or an `impression` event of the platform.
    packed : what `pack` returned.
    counts_after_ms : a slate that the next one replaces earlier is no impression.
    """

    def __init__(
        self,
        config: OutcomeConfig,
        impressions: ImpressionKind,
        packed: bytes | None = None,
        counts_after_ms: int = 0,
    ) -> None:
        self._config = config
        self._counts_after_ms = counts_after_ms
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
            index = self._index_of(observation)
            if isinstance(index, str):
                unused[index] += 1
                continue
            state = self._state
            state.newest_at = max(state.newest_at, observation.at)
            if index < 0:
                state.settled.forget_past()
                self._apply(state.settled, observation)
                in_order = False
                continue
            in_order = in_order and index == len(state.open)
            state.open.insert(index, observation)
            if in_order:
                self._apply(self._view, observation)
            self._settle()
        if not in_order:
            self._view = self._state.settled.copy()
            for observation in self._state.open:
                self._apply(self._view, observation)
        return unused

    def _apply(self, journal: Journal, observation: Observation) -> None:
        journal.apply(observation, self._config, self._impressions, self._counts_after_ms)

    def _index_of(self, observation: Observation) -> int | Literal["late", "repeated"]:
        """Find an observation's index among the open ones; -1 is right after all settled ones, whatever its time."""
        state, position = self._state, order(observation)
        if position <= state.settled_to:
            return -1 if isinstance(observation, Exposure) and not self._is_exposed else "late"
        index = bisect_left(state.open, position, key=order)
        known = index < len(state.open) and order(state.open[index]) == position
        return "repeated" if known else index

    @property
    def _is_exposed(self) -> bool:
        state = self._state
        return state.settled.exposed is not None or any(isinstance(known, Exposure) for known in state.open)

    def change(self, observations: Iterable[Observation]) -> Change | None:
        """Return what has changed in the user's arm since the last call; None where nothing has.

        Parameters
        ----------
        observations : those taken in since then.
        """
        state, exposed = self._state, self._view.exposed
        if exposed is None:
            return None
        new = self._view.values()
        old = state.reported if state.reported_for is not None and state.reported_for.arm == exposed.arm else None
        items = tuple({item for observation in observations for item in self._new_items(observation)})
        if new == old and not items:
            return None
        state.reported, state.reported_for = new, exposed
        return Change(*exposed.arm, state.newest_at, old, new, items, exposed.shares)

    def _new_items(self, observation: Observation) -> tuple[int, ...]:
        """Return items shown since the exposure that may not have been reported; to report one twice does no harm."""
        if isinstance(observation, Exposure):
            return tuple(item for slate in self._view.showings for item in slate.items)
        exposed = self._view.exposed
        if isinstance(observation, SlateSent) and exposed is not None and observation.at >= exposed.at:
            return observation.items
        return ()

    def withdraw(self) -> Change | None:
        """Take the user out of the arm, because of an erasure."""
        reported, exposed = self._state.reported, self._state.reported_for
        if reported is None or exposed is None:
            return None
        return Change(*exposed.arm, self._state.newest_at, reported, None, shares=exposed.shares)

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
        raise ValueError(f"a user's metrics of format {packed[0]} cannot be read; this release writes {FORMAT}")
    state = msgpack.decode(packed[1:], type=_PackedUser)
    journal = state.settled
    n_added = len(METRICS) - len(journal.during)
    if n_added > 0:
        journal.during += zero_pairs()[-n_added:]
        journal.before += zero_pairs()[-n_added:]
        if state.reported is not None:
            # What a tally takes an old user's value of a new metric to be.
            state.reported += Journal().values()[-n_added:]
    return state
