"""What one user has taught, as long as it can be taken back: an erasure leaves tables as if there had been nobody.

Beside the newest acts each user's state keeps the newest contributions, and gives them out once more when the user
is erased. Weights decay forward, so what was added at a moment can be subtracted at any later one, exactly but for
rounding. What is older than the history has decayed by then, and stays; its number is told.
"""

import struct
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, Self

import msgspec

from models.config import HistoryConfig, ProfileConfig
from models.counts.transitions import FORMAT as TRANSITIONS_FORMAT
from models.counts.transitions import Contribution, Earlier, ItemAct, Refusal, UserTransitions

FORMAT = 3
"""Snapshots of format 1 hold the running sessions alone, and contributions of format 2 nothing of earlier sessions."""
MAX_NAMES = 1_024
"""Segments of a user that are numbered before those that nothing refers to any more are let go."""
_HEADER = struct.Struct("<BI")
_RECORD = struct.Struct("<qqfBBB")
_RECORD_2 = struct.Struct("<qqfBB")


class Withdrawal(NamedTuple):
    """What an erased user had taught."""

    users: tuple[int, ...]
    """Hashes of all state keys that the user has had."""
    contributions: tuple[Contribution, ...]


class _PackedHistory(msgspec.Struct, array_like=True):
    erased_until: int
    n_lost: int
    names: list[str]
    records: list[bytes]


class ContributionHistory:
    """The newest contributions of a user, the oldest first: 23 bytes each, and for each item before it 8, or 12."""

    def __init__(self, config: HistoryConfig) -> None:
        self._config = config
        self.n_lost = 0
        """Contributions that are not kept any more."""
        self.names: list[str] = []
        self.records: deque[bytes] = deque()
        self._indices: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many contributions are kept."""
        return len(self.records)

    def add(self, contribution: Contribution) -> None:
        """Keep one, and let go of those that are too many or too old."""
        config, records = self._config, self.records
        if len(self.names) > MAX_NAMES:
            self._rename()
        segments = [self._index(name) for name in contribution.segments]
        records.append(_pack_record(contribution, segments))
        oldest_at = contribution.at - config.history_ms
        while records and (len(records) > config.history or _RECORD.unpack_from(records[0])[0] < oldest_at):
            records.popleft()
            self.n_lost += 1

    def contributions(self, user: int) -> Iterator[Contribution]:
        """Give what is kept; items have no ids, since nothing new comes of it."""
        for record in self.records:
            at, item, weight, n_previous, n_earlier, n_segments = _RECORD.unpack_from(record)
            form = f"<{n_previous + n_earlier}q{n_earlier}I{n_segments}H"
            rest = iter(struct.unpack_from(form, record, _RECORD.size))
            previous, items, gaps = (tuple(islice(rest, n)) for n in (n_previous, n_earlier, n_earlier))
            segments = tuple(self.names[index] for index in rest)
            yield Contribution(item, "", at, weight, user, segments, previous, tuple(map(Earlier, items, gaps)))

    def _index(self, name: str) -> int:
        if name not in self._indices:
            self._indices[name] = len(self.names)
            self.names.append(name)
        return self._indices[name]

    def _rename(self) -> None:
        """Give new numbers to the segments that are referred to."""
        kept, n_lost = list(self.contributions(0)), self.n_lost
        self.names, self.records, self._indices = [], deque(), {}
        for contribution in kept:
            self.add(contribution)
        self.n_lost = n_lost

    def clear(self) -> None:
        """Let go of all contributions."""
        self.n_lost += len(self.records)
        self.records.clear()

    def restore(self, names: list[str], records: list[bytes], n_lost: int) -> None:
        """Take what an earlier one held; of more than may be kept now, the newest."""
        self.names, self._indices = names, {name: index for index, name in enumerate(names)}
        self.records = deque(records[max(0, len(records) - self._config.history) :])
        self.n_lost = n_lost + len(records) - len(self.records)


def _pack_record(contribution: Contribution, segments: list[int]) -> bytes:
    at, item, weight, previous, earlier = (
        contribution.at, contribution.item, contribution.weight, contribution.previous, contribution.earlier
    )  # fmt: skip
    items, gaps = (act.item for act in earlier), (act.gap_s for act in earlier)
    head = _RECORD.pack(at, item, weight, len(previous), len(earlier), len(segments))
    form = f"<{len(previous) + len(earlier)}q{len(earlier)}I{len(segments)}H"
    return head + struct.pack(form, *previous, *items, *gaps, *segments)


def _upgrade(record: bytes) -> bytes:
    """Give a record of format 2 the form of this one."""
    *head, n_segments = _RECORD_2.unpack_from(record)
    return _RECORD.pack(*head, 0, n_segments) + record[_RECORD_2.size :]


class LearnedUser:
    """One user's newest acts, and what the user has taught."""

    def __init__(self, config: ProfileConfig, history: HistoryConfig) -> None:
        self._config = config
        self._history_config = history
        self._transitions = UserTransitions(config)
        self._history = ContributionHistory(history)
        self.erased_until = 0
        """The erasure, Unix ms, that the user came back after; 0: none."""

    @property
    def forget_after_ms(self) -> int:
        """How long the user must rest until nothing of the state can matter any more."""
        kept_ms = self._history_config.history_ms if len(self._history) else 0
        return max(self._transitions.forget_after_ms, kept_ms)

    @property
    def rests_after_ms(self) -> int:
        """How long the user must rest until there is something to let go of: contributions, or everything."""
        return (
            min(self._history_config.history_ms, self.forget_after_ms) if len(self._history) else self.forget_after_ms
        )

    def rest(self, idle_ms: int) -> bool:
        """Let go of what a user who has been idle for so long needs no more; say whether anything is left."""
        if idle_ms >= self.forget_after_ms:
            return False
        if idle_ms >= self._history_config.history_ms:
            self._history.clear()
        return True

    @property
    def is_new(self) -> bool:
        """Whether nothing was ever taken in."""
        return not self._transitions.newest_at

    @property
    def newest_at(self) -> int:
        """Event time of the newest act, Unix ms; 0 before the first."""
        return self._transitions.newest_at

    @property
    def n_kept(self) -> int:
        """How many contributions can be taken back."""
        return len(self._history)

    @property
    def n_lost(self) -> int:
        """How many cannot."""
        return self._history.n_lost

    def apply(self, act: ItemAct) -> Contribution | Refusal:
        """Take one event; return what it teaches, or why it teaches nothing."""
        learned = self._transitions.apply(act)
        if isinstance(learned, Contribution) and self._history_config.history:
            self._history.add(learned)
        return learned

    def erase(self, requested_at: int, user: int) -> tuple[Contribution, ...]:
        """Forget everything; return what can be taken back."""
        taught = tuple(self._history.contributions(user))
        self._transitions = UserTransitions(self._config)
        self._history = ContributionHistory(self._history_config)
        self.erased_until = requested_at
        return taught

    def pack(self) -> bytes:
        """Pack the newest acts and the history into bytes."""
        transitions, history = self._transitions.pack(), self._history
        rest = _PackedHistory(self.erased_until, history.n_lost, history.names, list(history.records))
        return _HEADER.pack(FORMAT, len(transitions)) + transitions + msgspec.msgpack.encode(rest)

    @classmethod
    def unpack(cls, packed: bytes, config: ProfileConfig, history: HistoryConfig) -> Self:
        """Restore what `pack` returned, or what an earlier release kept: the running sessions alone.

        Raises
        ------
        ValueError : the bytes are of a newer format, or damaged.
        """
        user = cls(config, history)
        if packed[0] == TRANSITIONS_FORMAT:
            user._transitions = UserTransitions.unpack(packed, config)
            user._history.n_lost = user._transitions.n_recent
            return user
        if packed[0] not in {2, FORMAT}:
            raise ValueError(f"a user's contributions of format {packed[0]}: this release reads up to {FORMAT}")
        _, n = _HEADER.unpack_from(packed)
        end = _HEADER.size + n
        user._transitions = UserTransitions.unpack(packed[_HEADER.size : end], config)
        try:
            rest = msgspec.msgpack.decode(packed[end:], type=_PackedHistory)
        except msgspec.DecodeError as error:
            raise ValueError(f"a user's contributions are damaged: {error}") from error
        user.erased_until = rest.erased_until
        records = [_upgrade(record) for record in rest.records] if packed[0] == 2 else rest.records
        user._history.restore(rest.names, records, rest.n_lost)
        return user
