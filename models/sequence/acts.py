"""What users did, one act after the other, as arrays: what a sequence model learns from."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from models.events import EventConfig
from models.messages import Event
from models.numeric.arrays import Int64s
from models.numeric.ids import hash64


class Acts(NamedTuple):
    """M acts of U users, each user's oldest first, laid end to end."""

    starts: Int64s
    """(U + 1,) user u's acts are [starts[u], starts[u + 1])."""
    items: Int64s
    """(M,) hashes."""
    at: Int64s
    """(M,) Unix ms."""

    @classmethod
    def of_users(cls, users: Iterable[Sequence[tuple[int, int]]]) -> "Acts":
        """Lay users' (at, item hash) end to end, in the order that a profile keeps: of one moment, by the item."""
        ordered = [sorted(acts, key=lambda act: (act[0], -act[1])) for acts in users]
        starts = np.zeros(len(ordered) + 1, np.int64)
        np.cumsum([len(acts) for acts in ordered], out=starts[1:])
        flat = np.array([act for acts in ordered for act in acts], np.int64).reshape(-1, 2)
        return cls(starts, flat[:, 1].copy(), flat[:, 0].copy())

    @classmethod
    def of_events(cls, events: Iterable[Event], config: EventConfig) -> "Acts":
        """Take the acts among events of any order; users stand in the order of their first events."""
        users: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        for event in events:
            if config.is_act(event):
                users[event.user_id].append((event.timestamp, hash64(event.item_id)))
        return cls.of_users(users.values())

    @property
    def n_users(self) -> int:
        """U."""
        return len(self.starts) - 1

    @property
    def n_pairs(self) -> int:
        """Acts that followed another one of their user."""
        return len(self.items) - int((self.starts[1:] > self.starts[:-1]).sum())

    def of_user(self, user: int) -> slice:
        """Say where a user's acts are."""
        return slice(int(self.starts[user]), int(self.starts[user + 1]))

    def chosen(self, users: Int64s) -> "Acts":
        """Keep some users, in the order given."""
        parts = [np.arange(self.starts[user], self.starts[user + 1]) for user in users.tolist()]
        starts = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=starts[1:])
        where = np.concatenate([np.empty(0, np.int64), *parts])
        return Acts(starts, self.items[where], self.at[where])

    def before(self, at: int) -> "Acts":
        """Keep what was done before a moment, Unix ms."""
        return self._kept(self.at < at)

    def _kept(self, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> "Acts":
        counts = np.zeros(len(self.items) + 1, np.int64)
        np.cumsum(kept, out=counts[1:])
        return Acts(counts[self.starts], self.items[kept], self.at[kept])


class Windows(NamedTuple):
    """W runs of at most T acts, each of one user, oldest first and padded behind."""

    items: Int64s
    """(W, T) item numbers (`Vocabulary`); 0 where there is no act, or of an unknown item."""
    at: Int64s
    """(W, T) Unix ms; 0 where there is no act."""
    lengths: Int64s
    """(W,) acts of each."""

    @classmethod
    def cut(cls, acts: Acts, numbers: Int64s, length: int) -> "Windows":
        """Cut users' acts into windows, from the newest backwards.

        Two neighbours share one act, so that each act but a user's first is predicted once.

        Parameters
        ----------
        numbers : (M,) of the acts' items.
        """
        bounds = [
            (max(int(acts.starts[u]), end - length), end)
            for u in range(acts.n_users)
            for end in range(int(acts.starts[u + 1]), int(acts.starts[u]) + 1, 1 - length)
        ]
        return cls.of_bounds(acts, numbers, bounds)

    @classmethod
    def of_bounds(cls, acts: Acts, numbers: Int64s, bounds: Sequence[tuple[int, int]]) -> "Windows":
        """Lay out the acts [first, end) of each window."""
        first, end = np.array(bounds, np.int64).reshape(-1, 2).T
        lengths = end - first
        steps = np.arange(int(lengths.max(initial=1)))
        within = steps < lengths[:, None]  # (W, T)
        where = np.where(within, first[:, None] + steps, 0)
        return cls(np.where(within, numbers[where], 0), np.where(within, acts.at[where], 0), lengths)

    @property
    def n(self) -> int:
        """W."""
        return len(self.lengths)

    def chosen(self, rows: Int64s) -> "Windows":
        """Keep some windows, as wide as the longest of them."""
        width = int(self.lengths[rows].max(initial=1))
        return Windows(self.items[rows, :width], self.at[rows, :width], self.lengths[rows])
