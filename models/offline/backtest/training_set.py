"""What a contender may learn from before a frozen test: who acted on what, in which order and when."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from models.events import EventConfig
from models.messages import Event
from models.numeric.arrays import Int64s
from models.numeric.ids import hash64, hash_all


class ActSequence(NamedTuple):
    """The acts of one user; in the session protocol, of one session."""

    user_id: str
    item_ids: tuple[str, ...]
    """Oldest first; an item comes as often as it was acted on."""
    at: tuple[int, ...]
    """When each was, Unix ms."""


class Interactions(NamedTuple):
    """Who acted on what, whatever the order."""

    matrix: Any
    """(U, I) scipy.sparse.csr_matrix of float32, 1 where user u acted on item i."""
    items: Int64s
    """(I,) hashes of the items, the one that most users acted on first, ties by hash."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The acts that a frozen test may be predicted from, a sequence a user."""

    sequences: tuple[ActSequence, ...]
    """In the order of their users' first acts."""

    @classmethod
    def of(cls, events: Iterable[Event], config: EventConfig) -> "TrainingSet":
        """Collect the acts among events, which are in time order."""
        acts: defaultdict[str, list[Event]] = defaultdict(list)
        for event in events:
            if config.is_act(event):
                acts[event.user_id].append(event)
        return cls(tuple(_sequence(user_id, of_user) for user_id, of_user in acts.items()))

    @property
    def n_items(self) -> int:
        """How many different items were acted on."""
        return len(set(self.item_ids()))

    def item_ids(self) -> list[str]:
        """List the item of each act, user by user."""
        return [item_id for sequence in self.sequences for item_id in sequence.item_ids]

    def interactions(self, max_items: int | None = None) -> Interactions:
        """Lay out who acted on what, of the `max_items` items that most users acted on; None: of all."""
        held = [set(sequence.item_ids) for sequence in self.sequences]
        n_users = Counter(item_id for of_user in held for item_id in of_user)
        chosen = sorted(n_users, key=lambda item_id: (-n_users[item_id], hash64(item_id)))[:max_items]
        column = {item_id: number for number, item_id in enumerate(chosen)}
        cells = [(row, column[item_id]) for row, of_user in enumerate(held) for item_id in of_user if item_id in column]
        rows, columns = np.array(cells, np.int64).reshape(-1, 2).T
        ones = np.ones(len(cells), np.float32)
        matrix = scipy.sparse.csr_matrix((ones, (rows, columns)), (len(held), len(chosen)))
        return Interactions(matrix, hash_all(chosen))


def _sequence(user_id: str, acts: Sequence[Event]) -> ActSequence:
    return ActSequence(user_id, tuple(act.item_id for act in acts), tuple(act.timestamp for act in acts))
