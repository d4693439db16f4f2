"""Training examples from the past: walked through in its order, by the same functions that serve."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items import ItemTable
from models.items.texts import HASHED, TextSpace
from models.messages import Event, Item
from models.numeric.arrays import Bools, Floats, Int64s
from models.numeric.ids import hash64, hash_all
from models.rankers.inputs import Inputs
from models.segments import EVERYBODY, hashes_of, segments_of
from models.serving.ranked import Ranked
from models.serving.recommender import MOST_AT_ONCE, Recommender
from models.strategy import Strategy
from models.user.profile import EventOutcome, Profile
from models.user.query import Query

_EVERYBODY = hash64(EVERYBODY)

Progress = Callable[[int, int], object]
"""Called with the number of events walked through, and of all."""


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
    publish_every: int = 256
    """Events after which the item tables learn them: so many may lie between an act and its effect on others."""


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
    """Place in `WalkConfig.strategies` of the one that they were made by."""

    def __getitem__(self, chosen: Bools) -> "Examples":
        """Keep those of the (B,) chosen."""
        return Examples(
            self.inputs[chosen],
            self.label_index[chosen],
            self.present[chosen],
            self.made_at[chosen],
            self.answered_at[chosen],
            self.strategy,
        )

    @property
    def features(self) -> Floats:
        """(B, C, F)."""
        return self.inputs.features

    @property
    def n(self) -> int:
        """How many there are."""
        return len(self.made_at)

    @property
    def answered(self) -> Bools:
        """(B,) whether the label is among the candidates; only from such a slate a ranker can learn."""
        return self.label_index >= 0


def walk(
    events: Sequence[Event],
    items: Sequence[Item],
    config: WalkConfig | None = None,
    progress: Progress | None = None,
    side: ItemSide | None = None,
) -> Iterator[Examples]:
    """Recommend, score, then learn: so nothing that a slate knows lies behind what it is judged on.

    Events go by in blocks. Each is applied to its user's profile, which says what is due, as in the flow; all
    slates that are due in the block are ranked with tables that have learned nothing of it; then the tables
    learn the block. A slate's label is looked up only after it was ranked.

    Parameters
    ----------
    events
        In time order.
    items
        The catalog, known from the start.
    side
        What learns the events, for whoever wants its table afterwards; it has learned nothing yet.

    Yields
    ------
    At most 128 examples of a strategy at a time, one for each event that makes a slate and after which its user
    did something more.
    """
    if not events:
        return
    config = config or WalkConfig()
    side = side or ItemSide(items, events[0].timestamp, config.item_side, config.events, config.profile, config.texts)
    profiles = _Profiles(config)
    next_acts = _next_acts(events, config)
    for start in range(0, len(events), config.publish_every):
        block = events[start : start + config.publish_every]
        queries = [profiles.apply(event, side.table) for event in block]
        due = [
            (query, act)
            for query, act in zip(queries, next_acts[start : start + len(block)], strict=True)
            if query is not None and act is not None
        ]
        for first in range(0, len(due), MOST_AT_ONCE):
            yield from _ranked(due[first : first + MOST_AT_ONCE], side.table, config.strategies)
        side.learn(block)
        if progress is not None:
            progress(start + len(block), len(events))


class _Profiles:
    """Every user's profile, and the slates that their acts make due."""

    def __init__(self, config: WalkConfig) -> None:
        self._config = config
        self._profiles: defaultdict[str, Profile] = defaultdict(lambda: Profile(config.profile, config.events))

    def apply(self, event: Event, table: ItemTable) -> Query | None:
        """Apply an event; return what a slate has to know, None where none is due."""
        if not event.consent:
            return None
        profile = self._profiles[event.user_id]
        item = hash64(event.item_id)
        attributes, price = table.facts(item)
        outcome = profile.apply(event, attributes, price, table.popular_attributes(_EVERYBODY, hash64(event.event_id)))
        if outcome is not EventOutcome.APPLIED or not self._config.events.is_act(event):
            return None
        named = segments_of(self._config.events.segment_fields, event.context, event.timestamp)
        return profile.query(
            trigger="event",
            trigger_id=event.event_id,
            user_id=event.user_id,
            at=event.timestamp,
            strategy=self._config.strategies[0],
            experiment=None,
            variant=None,
            current_item=item,
            segments=hashes_of(named),
            context=event.context,
        )


def _next_acts(events: Sequence[Event], config: WalkConfig) -> list[Event | None]:
    """Find what the user of each event did next, None where that was all."""
    next_acts: list[Event | None] = [None] * len(events)
    newest: dict[str, Event] = {}
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        next_acts[place] = newest.get(event.user_id)
        if config.events.is_act(event):
            newest[event.user_id] = event
    return next_acts


def _ranked(due: list[tuple[Query, Event]], table: ItemTable, strategies: tuple[Strategy, ...]) -> Iterator[Examples]:
    """Rank slates by each strategy, then look up what each user did next."""
    recommender = Recommender(table)
    wanted = [act.item_id for _, act in due]
    answered_at = np.array([act.timestamp for _, act in due], np.int64)
    for place, strategy in enumerate(strategies):
        # The order is the blend's, for there may be no ranker yet; candidates and features are the same.
        by_blend = replace(strategy, ranker="blend")
        ranked = recommender.rank([replace(query, strategy=by_blend) for query, _ in due])
        yield labelled(ranked, recommender.table, wanted, answered_at, place)


def labelled(
    ranked: Ranked, table: ItemTable, wanted: Sequence[str], answered_at: Int64s, strategy: int = 0
) -> Examples:
    """Look for the (B,) items that users went on to among their ranked candidates.

    Parameters
    ----------
    answered_at : (B,) when they did, Unix ms.
    """
    wanted_rows = table.rows_of(hash_all(list(wanted)))[:, None]  # (B, 1)
    rows = ranked.blended.rows  # (B, C)
    found = (rows == wanted_rows) & (rows >= 0)
    label_index = np.where(found.any(axis=1), found.argmax(axis=1), -1)
    return Examples(ranked.inputs, label_index, rows >= 0, ranked.batch.at, answered_at, strategy)
