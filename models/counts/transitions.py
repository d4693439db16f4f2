"""What one user's event teaches about items: those of the same session that came before it, and of earlier sessions.

Everything is bounded: ten items back in either, for session kNN some more of the session, the event ids within the
lateness, one sliding window against bots.
"""

import struct
from typing import Literal, NamedTuple, Self, TypeAlias

from models.config import ProfileConfig
from models.events import EventConfig
from models.items.sessions import LENGTH
from models.messages import Event
from models.numeric.ids import hash64
from models.numeric.windows import BOT_WINDOW_MS, PLATFORM_SILENCE_MS, SlidingWindow, is_bot, silence_ms
from models.segments import segments_of

STEPS = 10
"""How many items back a pair of one session may reach."""
N_EARLIER = 10
"""How many acts of other sessions an event is paired with, the newest."""
MAX_RECENT = LENGTH - 1 + N_EARLIER
"""Acts that are kept of a user."""
MAX_SEEN = 1024
"""Event ids that one user keeps against repeats, should more fall within the lateness."""
PANE_MS = 30_000
"""Of the window of a user's acts: as packed states have it, and a half of what `is_bot` needs."""

FORMAT = 1
_HEADER = struct.Struct("<BHHHq")

Refusal: TypeAlias = Literal["late", "repeated", "bot"]


class ItemAct(NamedTuple):
    """One event, reduced to what learning needs of it. Hashes are `models.numeric.ids.hash64`."""

    event: int
    user: int
    item: int
    item_id: str
    at: int
    """Event time, Unix milliseconds."""
    weight: float
    """Of the event's type, above 0."""
    session: int
    """Of the platform's session_id; 0 where the gap decides."""
    segments: tuple[str, ...]


class Earlier(NamedTuple):
    """An act of an earlier session."""

    item: int
    gap_s: int
    """Whole seconds from it to the event that it is paired with."""


class Contribution(NamedTuple):
    """What one event adds to the item tables."""

    item: int
    item_id: str
    at: int
    weight: float
    user: int
    segments: tuple[str, ...]
    previous: tuple[int, ...]
    """The session's items before it, newest first: the r-th is r steps back, from 1; at most `STEPS`."""
    earlier: tuple[Earlier, ...] = ()
    """What the user did in other sessions before it (`ProfileConfig.habits_within`: in any), newest first; at most
    `N_EARLIER`."""
    further_back: tuple[int, ...] = ()
    """The session's items before `previous`, newest first, which session kNN keeps with them: `LENGTH` in all."""


def act_of(event: Event, events: EventConfig) -> ItemAct | None:
    """Reduce an event, or return None for one that teaches nothing.

    That is an event without consent, and one whose type weighs nothing: an impression is what we showed, not
    what the user wanted.
    """
    if not events.is_act(event):
        return None
    return ItemAct(
        hash64(event.event_id),
        hash64(event.user_id),
        hash64(event.item_id),
        event.item_id,
        event.timestamp,
        events.weights[event.event_type],
        hash64(event.session_id) if event.session_id else 0,
        segments_of(events.segment_fields, event.context, event.timestamp),
    )


class UserTransitions:
    """The newest acts of one user, as far back as a pair reaches.

    Transitions follow event time: an event that comes out of order, but not late, goes on from the items
    before it; those already seen after it are not counted again.
    """

    __slots__ = ("_config", "_prune_at", "_recent", "_seen", "_window", "newest_at")

    def __init__(self, config: ProfileConfig) -> None:
        self._config = config
        self.newest_at = 0
        # (at, item, session), oldest first; the last MAX_RECENT of all the user's sessions.
        self._recent: list[tuple[int, int, int]] = []
        self._seen: dict[int, int] = {}
        self._prune_at = 32
        self._window = SlidingWindow(BOT_WINDOW_MS, PANE_MS, config.lateness_ms)

    @property
    def forget_after_ms(self) -> int:
        """How long the user must rest until nothing of the state can matter any more: as long as a profile is kept."""
        open_ms = max(self._config.session_gap_ms, PLATFORM_SILENCE_MS) + self._config.lateness_ms
        return max(open_ms, self._config.expire_after_ms if self._recent else 0)

    @property
    def n_recent(self) -> int:
        """How many acts are kept."""
        return len(self._recent)

    def apply(self, act: ItemAct) -> Contribution | Refusal:
        """Take one event; return what it teaches, or why it teaches nothing."""
        at = act.at
        if at < self.newest_at - self._config.lateness_ms:
            return "late"
        if act.event in self._seen:
            return "repeated"
        self._remember(act.event, at)
        self._window.add(at)
        self.newest_at = max(self.newest_at, at)
        if is_bot(self._window, at, self._config.max_events_per_5_min):
            return "bot"
        items, earlier = self._before(at, act.session)
        self._insert(at, act.item, act.session)
        return Contribution(
            act.item, act.item_id, at, act.weight, act.user, act.segments, items[:STEPS], earlier,
            items[STEPS : LENGTH - 1],
        )  # fmt: skip

    def _before(self, at: int, session: int) -> tuple[tuple[int, ...], tuple[Earlier, ...]]:
        """Find the items of the session before `at`, and the acts before it that make habits, newest first."""
        items: list[int] = []
        earlier: list[Earlier] = []
        # What the platform names stays open for the lateness longer (`SessionWindows`); a gap decides exactly.
        longest_ms = silence_ms(session, self._config.session_gap_ms) + (self._config.lateness_ms if session else 0)
        later_at, is_open = at, True
        for before_at, item, of_session in reversed(self._recent):
            if before_at > at:
                continue
            if of_session == session:
                is_open = is_open and later_at - before_at <= longest_ms
            is_within = of_session == session and is_open
            if is_within:
                items.append(item)
                later_at = before_at
            if len(earlier) < N_EARLIER and (not is_within or self._config.habits_within):
                earlier.append(Earlier(item, (at - before_at) // 1_000))
        return tuple(items), tuple(earlier)

    def _insert(self, at: int, item: int, session: int) -> None:
        recent = self._recent
        p = len(recent)
        while p and recent[p - 1][0] > at:
            p -= 1
        recent.insert(p, (at, item, session))
        if len(recent) > MAX_RECENT:
            del recent[0]

    def _remember(self, event: int, at: int) -> None:
        if len(self._seen) >= self._prune_at:
            self._prune()
            self._prune_at = min(max(32, 2 * len(self._seen)), MAX_SEEN)
        self._seen[event] = at

    def _prune(self) -> None:
        """Forget ids that are late by now, and the first of the others if they are too many."""
        oldest = self.newest_at - self._config.lateness_ms
        kept = [(event, at) for event, at in self._seen.items() if at >= oldest]
        self._seen = dict(kept[-(MAX_SEEN - 1) :])

    def pack(self) -> bytes:
        """Pack into bytes: 15 of header, 24 an item, 12 an event id, 4 a pane of the window."""
        self._prune()
        newest_at, window = self.newest_at, self._window.pack()
        words = [word for at, item, session in self._recent for word in (newest_at - at, item, session)]
        return b"".join(
            (
                _HEADER.pack(FORMAT, len(self._recent), len(self._seen), len(window) - 1, newest_at),
                struct.pack(f"<{len(words)}q", *words),
                struct.pack(f"<{len(self._seen)}q", *self._seen),
                struct.pack(f"<{len(self._seen)}I", *(newest_at - at for at in self._seen.values())),
                struct.pack(f"<{len(window) - 1}I", *window[1:]),
            )
        )

    @classmethod
    def unpack(cls, packed: bytes, config: ProfileConfig) -> Self:
        """Restore what `pack` returned; the configuration may have changed since.

        Raises
        ------
        ValueError : the bytes are of a newer format.
        """
        version, n_recent, n_seen, n_panes, newest_at = _HEADER.unpack_from(packed)
        if version != FORMAT:
            raise ValueError(f"a user's transitions of format {version}: this release reads format {FORMAT}")
        read = struct.unpack_from(f"<{3 * n_recent + n_seen}q{n_seen + n_panes}I", packed, _HEADER.size)
        words, rest = read[: 3 * n_recent], read[3 * n_recent :]
        user = cls(config)
        user.newest_at = newest_at
        fields = iter(words)
        user._recent = [
            (newest_at - age, item, session) for age, item, session in zip(fields, fields, fields, strict=True)
        ]
        ages = rest[n_seen : 2 * n_seen]
        user._seen = {event: newest_at - age for event, age in zip(rest[:n_seen], ages, strict=True)}
        user._window = SlidingWindow.unpack(
            (newest_at, *rest[2 * n_seen :]), BOT_WINDOW_MS, PANE_MS, config.lateness_ms
        )
        return user
