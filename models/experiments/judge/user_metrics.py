"""One user's metrics, in whatever order the topics deliver the observations."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec import Struct, field, msgpack

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.journal import COUNTS, Journal, Versions, zero_pairs
from models.experiments.judge.metrics import METRICS
from models.experiments.judge.observations import Exposure, Observation, SlateSent, order
from models.experiments.judge.sums import Values

MAX_OPEN = 64
"""Newest observations of a user among which an earlier one is still put in order."""
MAX_WAITING = 256
"""The same while slates are overdue: of acts that are newer than the user's newest slate, theirs may be on its way."""
FORMAT = 2
"""Of format 1 everything is read: its users have no versions counted, and weigh 1, as they were added."""


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
    weight: float = 1.0
    """What the user counts for."""
    due_at: int = 0
    """Event time from which the user is judged."""
    versions: Versions = {}  # noqa: RUF012, since nobody changes one that is sent
    """What is to be added to the counts of rankers' versions."""


class _PackedUser(Struct, array_like=True):
    settled: Journal = field(default_factory=Journal)
    settled_to: tuple[int, int, int] = (-1, 0, 0)
    """`order` of the last settled observation; what comes before it now is late."""
    open: list[Observation] = field(default_factory=list)
    newest_at: int = 0
    reported: Values | None = None
    """What the arm's sums hold of the user."""
    reported_for: Exposure | None = None
    reported_versions: Versions = field(default_factory=dict)
    erased_until: int = 0
    """The erasure, Unix ms, that the user came back after; 0: none."""
    newest_slate_at: int = 0
    """Event time; 0: none has come."""


class UserMetrics:
    """Takes observations in any order, and says how the user's values change.

    The same observations give the same values, in whatever order they come, as long as none is overtaken by more than
    MAX_OPEN others, or a slate by MAX_WAITING acts. Older ones are settled: they are applied for good, and what comes
    before them is late. Only a first exposure is never too late: a user who was left out would falsify the variants'
    numbers of users.

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
            if isinstance(observation, SlateSent):
                state.newest_slate_at = max(state.newest_slate_at, observation.at)
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
        new, versions = self._view.values(), self._view.versions
        old, counted = None, Versions()
        if state.reported_for is not None and state.reported_for.arm == exposed.arm:
            # Should an earlier assignment to the arm come later, the user stays in the group that was reported.
            exposed, old, counted = state.reported_for, state.reported, state.reported_versions
        items = tuple({item for observation in observations for item in self._new_items(observation)})
        if new == old and versions == counted and not items:
            return None
        state.reported, state.reported_for = new, exposed
        state.reported_versions = {model: list(counts) for model, counts in versions.items()}
        return self._change_in(exposed, old, new, items, _less(versions, counted))

    def _change_in(
        self,
        exposed: Exposure,
        old: Values | None,
        new: Values | None,
        items: tuple[int, ...],
        versions: Versions,
    ) -> Change:
        at, weight, due_at = self._state.newest_at, exposed.weight, exposed.due_at
        return Change(*exposed.arm, at, old, new, items, exposed.shares, weight, due_at, versions)

    def _new_items(self, observation: Observation) -> tuple[int, ...]:
        """Return items shown since the exposure that may not have been reported; to report one twice does no harm."""
        if isinstance(observation, Exposure):
            return tuple(item for slate in self._view.showings for item in slate.items)
        exposed = self._view.exposed
        if isinstance(observation, SlateSent) and exposed is not None and observation.at >= exposed.at:
            return observation.items
        return ()

    @property
    def erased_until(self) -> int:
        """The erasure, Unix ms, that the user came back after; 0: none."""
        return self._state.erased_until

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever taken in."""
        return not self._state.newest_at

    @property
    def n_kept(self) -> int:
        """How many observations and slates are kept."""
        return len(self._state.open) + len(self._state.settled.showings)

    def erase(self, requested_at: int) -> Change | None:
        """Forget everything; return how that takes the user out of the arm."""
        old, change = self._state, None
        if old.reported is not None and old.reported_for is not None:
            change = self._change_in(old.reported_for, old.reported, None, (), _less({}, old.reported_versions))
        self._state = _PackedUser(erased_until=requested_at)
        self._view = self._state.settled.copy()
        return change

    def pack(self) -> bytes:
        """Pack the state: a version byte and MessagePack."""
        return bytes([FORMAT]) + msgpack.encode(self._state)

    def _settle(self) -> None:
        """Apply the oldest for good, where there are too many; while slates are overdue, what they answer waits."""
        state = self._state
        while len(state.open) > MAX_OPEN:
            is_waited_for = 0 < state.newest_slate_at < state.open[0].at
            if is_waited_for and len(state.open) <= MAX_WAITING:
                return
            oldest = state.open.pop(0)
            self._apply(state.settled, oldest)
            state.settled_to = order(oldest)


def _less(some: Versions, others: Versions) -> Versions:
    """Take counts away from counts; a version that the user's state has forgotten stays counted."""
    nothing = [0] * len(COUNTS)
    left = some or others
    return {
        model: [now - then for now, then in zip(some.get(model, nothing), others.get(model, nothing), strict=True)]
        for model in left
        if some.get(model) != others.get(model)
    }


def _unpack(packed: bytes) -> _PackedUser:
    if packed[:1] not in (b"\x01", bytes([FORMAT])):
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
