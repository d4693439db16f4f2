"""A budget for new items in a made-up shop whose good ones nobody knows: `python -m tests.benchmarks.cold`.

400 visitors, each of whom likes one kind of eight, open pages of ten items. The first position is looked at always, the
one at p with probability (p + 1)^-1/2; an item of the visitor's kind is clicked as often as it is good, one of another
kind a tenth of that. Of 160 known items each is good for 4 to 14 clicks in a hundred looks. Then new ones arrive: one
in five is good for 50, the others for 1, and nothing that the catalog says of them tells which. Slates, clicks and
impressions go through the functions of the flows.
"""

import argparse
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from rich.console import Console
from rich.table import Table

from models.config import ItemSideConfig, ProfileConfig
from models.counts.impressions import Impressions, ItemShown
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.items.vectors import HASHED
from models.items.wire import ContentRow, GraduatedRow, PackedRow
from models.messages import Event, Item, Request, Slate
from models.serving.recommender import Recommender
from models.serving.slates import COLD
from models.strategy import Strategy
from models.user.state import UserState

START = 1_700_000_000_000
HOUR_MS = 3_600_000
N_KINDS, N_KNOWN, N_VISITORS = 8, 800, 400
GOOD, BAD, ELSEWHERE = 0.5, 0.01, 0.1
"""Clicks a look of a good new item, of a bad one, and how many of them remain where the kind is not the visitor's."""
BUDGET = Strategy(cold_share=0.3, max_per_category=10)
GRADUATES_AFTER = 30
AT_ONCE = 50
"""Slates that are made before what they show is counted, as between two publications of `learn`."""


@dataclass
class Hour:
    """What came of an hour."""

    n_slates: int = 0
    n_clicks: int = 0


@dataclass
class Outcome:
    """What came of some hours."""

    hours: list[Hour] = field(default_factory=list)
    arrived_good: set[str] = field(default_factory=set)
    cold_shown: Counter[str] = field(default_factory=Counter)
    """How often each item stood in a place of the budget."""
    cold_of_user: Counter[str] = field(default_factory=Counter)
    slates_of_user: Counter[str] = field(default_factory=Counter)
    most_on_a_slate: int = 0
    """Places of the budget on one slate, at most."""
    clicked: Counter[str] = field(default_factory=Counter)
    graduated: set[str] = field(default_factory=set)

    def clicks_a_slate(self, first: int, last: int) -> float:
        """Average over the hours from the first to before the last."""
        hours = self.hours[first:last]
        return sum(hour.n_clicks for hour in hours) / sum(hour.n_slates for hour in hours)

    @property
    def found(self) -> float:
        """Share of the good new items with ten clicks and more."""
        return sum(self.clicked[item] >= 10 for item in self.arrived_good) / len(self.arrived_good)


class Shop:
    """A shop by one strategy; the same seed brings the same visitors and items."""

    def __init__(self, strategy: Strategy, seed: int = 0) -> None:
        self._strategy = strategy
        self._rng = np.random.default_rng(seed)
        self._goodness = {f"known{n}": 0.04 + 0.1 * self._rng.random() for n in range(N_KNOWN)}
        self._kind = {f"known{n}": n % N_KINDS for n in range(N_KNOWN)}
        self._side = ItemSide(
            [self._item(name) for name in self._goodness],
            START,
            ItemSideConfig(shards=4),
            EventConfig(),
            ProfileConfig(),
        )
        self._visitors = [UserState(ProfileConfig(), EventConfig()) for _ in range(N_VISITORS)]
        self._impressions = Impressions(GRADUATES_AFTER)
        self._n_events = 0
        self.outcome = Outcome()
        self._begin()

    def _item(self, name: str, created_at: int = START - 100 * HOUR_MS) -> Item:
        kind = self._kind[name]
        return Item(name, title=f"story of kind{kind}", categories=[f"kind{kind}"], created_at=created_at)

    def _begin(self) -> None:
        """Let each visitor have clicked on four known items of the kind, by how good they are; all were shown often."""
        self._apply([GraduatedRow(name, 1, START - HOUR_MS) for name in self._goodness])
        clicks = []
        for visitor in range(N_VISITORS):
            mine = [name for name, kind in self._kind.items() if kind == visitor % N_KINDS]
            odds = np.array([self._goodness[name] for name in mine])
            clicks += [(visitor, name) for name in self._rng.choice(mine, 4, replace=False, p=odds / odds.sum())]
        self._learn(clicks, START - HOUR_MS)

    def run(self, n_hours: int, n_new: int, n_slates: int) -> Outcome:
        """Go through some hours, in each of which so many items arrive and so many slates are looked at."""
        for hour in range(n_hours):
            at = START + hour * HOUR_MS
            self._arrive([f"new{hour}-{n}" for n in range(n_new)], at)
            self.outcome.hours.append(Hour())
            for first in range(0, n_slates, AT_ONCE):
                self._show(at + first * HOUR_MS // n_slates)
        return self.outcome

    def _arrive(self, names: list[str], at: int) -> None:
        for n, name in enumerate(names):
            self._kind[name] = int(self._rng.integers(N_KINDS))
            self._goodness[name] = GOOD if n % 5 == 0 else BAD
            if n % 5 == 0:
                self.outcome.arrived_good.add(name)
        items = [self._item(name, at) for name in names]
        self._side.table.apply_items(items, [])
        self._apply([ContentRow(name, 1, vector) for name, vector in zip(names, HASHED.items(items), strict=True)])

    def _apply(self, rows: list[PackedRow]) -> None:
        self._side.table.apply_rows([row.key.encode() for row in rows], [row.pack() for row in rows])

    def _show(self, at: int) -> None:
        """Make slates at once, then let their visitors look and click, and everybody learn of it."""
        visitors = self._rng.choice(N_VISITORS, AT_ONCE, replace=False).tolist()
        queries = [
            self._visitors[visitor].due(Request(f"r-{at}-{visitor}", f"u{visitor}", at), self._strategy)
            for visitor in visitors
        ]
        slates = Recommender(self._side.table).recommend(queries)
        clicks = [
            (visitor, item.item_id)
            for visitor, slate in zip(visitors, slates, strict=True)
            for item in slate.items
            if self._rng.random() < self._chance(visitor, item.item_id) / np.sqrt(item.position + 1)
        ]
        for slate in slates:
            self._count(slate)
        self.outcome.hours[-1].n_clicks += len(clicks)
        self.outcome.clicked.update(item for _, item in clicks)
        self._learn(clicks, at + 1_000)
        shown = [ItemShown(item.item_id, slate.created_at) for slate in slates for item in slate.items]
        rows = self._impressions.count(shown)[0]
        self.outcome.graduated.update(row.item_id for row in rows)
        self._apply([*rows])

    def _chance(self, visitor: int, item: str) -> float:
        return self._goodness[item] * (1.0 if self._kind[item] == visitor % N_KINDS else ELSEWHERE)

    def _count(self, slate: Slate) -> None:
        outcome, cold = self.outcome, [item.item_id for item in slate.items if item.source == COLD]
        outcome.hours[-1].n_slates += 1
        outcome.slates_of_user[slate.user_id] += 1
        outcome.cold_of_user[slate.user_id] += len(cold)
        outcome.cold_shown.update(cold)
        outcome.most_on_a_slate = max(outcome.most_on_a_slate, len(cold))

    def _learn(self, clicks: list[tuple[int, str]], at: int) -> None:
        events = []
        for visitor, item in clicks:
            self._n_events += 1
            event = Event(f"e-{self._n_events}", f"u{visitor}", item, "click", at + self._n_events % 1_000)
            self._visitors[visitor].take(event, self._n_events, self._side.table)
            events.append(event)
        self._side.learn(sorted(events, key=lambda event: event.timestamp))


def main() -> None:
    """Run each strategy in the same shops, and print a row each: means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=30)
    parser.add_argument("--new", type=int, default=5, help="items that arrive in an hour")
    parser.add_argument("--slates", type=int, default=400, help="slates an hour")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    table = Table()
    hours, tenth = options.hours, max(1, options.hours // 10)
    for head in (
        "",
        f"clicks a slate, first {tenth} h",
        f"last {tenth} h",
        "good ones found",
        "graduated",
        "most of one",
    ):
        table.add_column(head, justify="right")
    for share in (0.0, 0.1, 0.3, 1.0):
        outcomes = [
            Shop(replace(BUDGET, cold_share=share), seed).run(hours, options.new, options.slates)
            for seed in range(options.seeds)
        ]
        figures = (
            [one.clicks_a_slate(0, tenth) for one in outcomes],
            [one.clicks_a_slate(hours - tenth, hours) for one in outcomes],
            [one.found for one in outcomes],
            [float(len([item for item in one.graduated if item.startswith("new")])) for one in outcomes],
            [float(max(one.cold_shown.values(), default=0)) for one in outcomes],
        )
        table.add_row(f"cold_share {share}", *(f"{np.mean(values):.3f} ±{np.std(values):.3f}" for values in figures))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
