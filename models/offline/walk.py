"""Training examples from the past: walked through in its order, by the same functions that serve."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from models.candidates.weights import blend_again
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.items.vectors import HASHED, TextSpace
from models.messages import Event, Item, Request
from models.names import BLEND_FEATURES, FEATURES
from models.numeric.arrays import Bools, Int64s
from models.numeric.ids import hash_all
from models.rankers.inputs import Inputs
from models.sequence.encoder import SequenceEncoder
from models.serving.ranked import Ranked
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import Strategy
from models.user.query import Query
from models.user.state import UserState

Progress = Callable[[int, int], object]
"""Called with the number of messages walked through, and of all."""
_BLEND = FEATURES.index(BLEND_FEATURES[-1])


@dataclass(frozen=True, slots=True)
class WalkConfig:
    """How the past is walked through; the defaults are the flows'."""

    strategies: tuple[Strategy, ...] = (Strategy(),)
    """Which candidates there are; each slate is made once a strategy. Their rankers play no part."""
    events: EventConfig = field(default_factory=EventConfig)
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    item_side: ItemSideConfig = field(default_factory=ItemSideConfig)
    texts: TextSpace = HASHED
    """Where items and searches are compared."""
    encoder: SequenceEncoder | None = None
    """What the source `sequence` goes by. It has to be older than the slates that a ranker learns from."""
    publish_every: int = 256
    """Messages after which the item tables learn their events: so many may lie between an act and its effect on
    others."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Slates as they would have been made, and what each user did next: B of them, the oldest slate first."""

    inputs: Inputs
    """Of C candidates."""
    label_index: Int64s
    """(B,) which candidate the user acted on next, -1 for none of them."""
    present: Bools
    """(B, C) False where a slate has no candidate."""
    made_at: Int64s
    """(B,) when the slate was made, Unix ms."""
    answered_at: Int64s
    """(B,) when the user did what it is labelled with, Unix ms."""
    strategy: int
    """Index in `WalkConfig.strategies` of the one that they were made by."""

    @classmethod
    def joined(cls, parts: Sequence["Examples"]) -> "Examples":
        """Lay one part or more end to end, with as many candidates as the longest list has.

        They are said to be of the first part's strategy.
        """
        n_candidates = max(part.present.shape[1] for part in parts)

        def padded(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            missing = n_candidates - array.shape[1]
            return np.pad(array, ((0, 0), (0, missing), *((0, 0),) * (array.ndim - 2))) if missing else array

        return cls(
            Inputs(
                np.concatenate([padded(part.inputs.features) for part in parts]),
                np.concatenate([padded(part.inputs.items) for part in parts]),
                np.concatenate([part.inputs.users for part in parts]),
                np.concatenate([part.inputs.histories for part in parts]),
            ),
            np.concatenate([part.label_index for part in parts]),
            np.concatenate([padded(part.present) for part in parts]),
            np.concatenate([part.made_at for part in parts]),
            np.concatenate([part.answered_at for part in parts]),
            parts[0].strategy,
        )

    def __getitem__(self, chosen: Bools | slice) -> "Examples":
        """Keep those that a (B,) mask or a slice chooses."""
        return Examples(
            self.inputs[chosen],
            self.label_index[chosen],
            self.present[chosen],
            self.made_at[chosen],
            self.answered_at[chosen],
            self.strategy,
        )

    def blend_by(self, strategy: Strategy) -> None:
        """Write what a strategy's weights of the sources make of the candidates over what those that found them did."""
        self.inputs.features[..., _BLEND] = blend_again(self.inputs.features, strategy)

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.made_at)

    @property
    def answered(self) -> Bools:
        """(B,) whether the label is among the candidates; only from such a slate a ranker can learn."""
        return self.label_index >= 0


def walk(
    messages: Sequence[Event | Request],
    items: Sequence[Item],
    config: WalkConfig | None = None,
    progress: Progress | None = None,
    side: ItemSide | None = None,
) -> Iterator[Examples]:
    """Recommend, score, then learn: so nothing that a slate knows lies behind what it is judged on.

    Slates are ranked as they come due (`slates_due`). A slate's label is looked up only after it was ranked.

    Parameters
    ----------
    messages
        In the order in which they arrived, which is the time order where nothing else is known. A request makes a
        slate and teaches nothing.
    items
        The catalog, known from the start.
    side
        What learns the events, for whoever wants its table afterwards.

    Yields
    ------
    At most 128 examples of a strategy at a time, one for each message that makes a slate and after which its user
    did something more.
    """
    if not messages:
        return
    config = config or WalkConfig()
    side = side or side_of(messages, items, config)
    for due in slates_due(messages, side, config, progress):
        yield from ranked_slates(due, side.table, config.strategies)


def side_of(messages: Sequence[Event | Request], items: Sequence[Item], config: WalkConfig) -> ItemSide:
    """Make what learns the events of a walk, and has learned none."""
    side = ItemSide(items, messages[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    if config.encoder is not None:
        side.read_with(config.encoder)
    return side


def slates_due(
    messages: Sequence[Event | Request], side: ItemSide, config: WalkConfig, progress: Progress | None = None
) -> Iterator[list[tuple[Query, Event]]]:
    """Go through messages in blocks, and let the tables learn each block once all that is due in it was asked.

    Each message is applied to its user's state, which says what slate is due, as in the flow: wherever that would make
    one, by the type of the event (`EventConfig.is_trigger`), not by what the event is worth, so after a dislike too.
    Beside each query stands what its user did next that is worth something. Searches are left out, since no ranker
    orders them.

    Yields
    ------
    At most 128 at a time, before the tables have learned anything of their block.
    """
    users = Users(config.profile, config.events)
    next_acts = _next_acts(messages, config.events)
    for start in range(0, len(messages), config.publish_every):
        block = messages[start : start + config.publish_every]
        queries = [users.query(message, side.table, config.strategies[0]) for message in block]
        due = [
            (query, act)
            for query, act in zip(queries, next_acts[start : start + len(block)], strict=True)
            if query is not None and act is not None and not query.query
        ]
        for first in range(0, len(due), MOST_AT_ONCE):
            yield due[first : first + MOST_AT_ONCE]
        side.learn([message for message in block if isinstance(message, Event)])
        if progress is not None:
            progress(start + len(block), len(messages))


class Users:
    """Every user's state in one process. Events are numbered as they come, as if they were all of one partition."""

    def __init__(self, config: ProfileConfig, events: EventConfig) -> None:
        self._states: defaultdict[str, UserState] = defaultdict(lambda: UserState(config, events))
        self._n_events = 0

    def query(self, message: Event | Request, table: ItemTable, strategy: Strategy) -> Query | None:
        """Apply a message; return what its slate has to know, None where none is due."""
        user, offset = self._states[message.user_id], self._n_events
        self._n_events += isinstance(message, Event)
        return user.due(message, strategy) if user.take(message, offset, table) else None


def _next_acts(messages: Sequence[Event | Request], events: EventConfig) -> list[Event | None]:
    """Find what the user of each message did next, None where that was all."""
    next_acts: list[Event | None] = [None] * len(messages)
    newest: dict[str, Event] = {}
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        next_acts[index] = newest.get(message.user_id)
        if isinstance(message, Event) and events.is_act(message):
            newest[message.user_id] = message
    return next_acts


def ranked_slates(
    due: list[tuple[Query, Event]], table: ItemTable, strategies: tuple[Strategy, ...]
) -> Iterator[Examples]:
    """Rank slates by each strategy, then look up what each user did next."""
    recommender = Recommender(table)
    for index, strategy in enumerate(strategies):
        # The order is the blend's, for there may be no ranker yet; candidates and features are the same.
        by_blend = replace(strategy, ranker="blend")
        queries = [replace(query, strategy=by_blend) for query, _ in due]
        for members in recommender.groups(queries):
            ranked, acts = recommender.rank([queries[m] for m in members]), [due[m][1] for m in members]
            answered_at = np.array([act.timestamp for act in acts], np.int64)
            yield labelled(ranked, table, [act.item_id for act in acts], answered_at, index)


def labelled(
    ranked: Ranked, table: ItemTable, acted_on: Sequence[str], answered_at: Int64s, strategy: int = 0
) -> Examples:
    """Look for the items that users went on to among their ranked candidates.

    Parameters
    ----------
    acted_on : (B,) ids of those items.
    answered_at : (B,) when that was, Unix ms.
    """
    label_rows = table.rows_of(hash_all(list(acted_on)))[:, None]  # (B, 1)
    rows = ranked.blended.rows  # (B, C)
    found = (rows == label_rows) & (rows >= 0)
    label_index = np.where(found.any(axis=1), found.argmax(axis=1), -1)
    return Examples(ranked.inputs, label_index, rows >= 0, ranked.batch.at, answered_at, strategy)
