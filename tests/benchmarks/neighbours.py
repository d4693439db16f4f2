"""What is lost of co-visitation by counting in bounded memory: Eddy's counts beside exact ones, on MovieLens small.

`python -m tests.benchmarks.neighbours`. The first events are learned, by the flow's own functions and once more into a
matrix with a cell a pair; then each later act is predicted, from the user's last 15 items, by one formula over either
(`models.candidates.covisitation`). Films that the user has rated are left out.
"""

import argparse
import sys
from collections import defaultdict

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dataflows.demo.world import movielens
from models.candidates.covisitation import RECENCY
from models.candidates.damped import N_LAST, SMOOTHING
from models.config import ItemSideConfig, ProfileConfig
from models.counts.item_statistics import ItemStatistics
from models.counts.pairs import add_up
from models.counts.publishing import N_PUBLISHED
from models.counts.transitions import Contribution, UserTransitions, act_of
from models.events import EventConfig
from models.messages import Event
from models.numeric.arrays import Doubles, Int64s
from models.numeric.ids import hash64

CONSOLE = Console(stderr=True)
FIGURES = {"HR@10": 10, "HR@20": 20, "recall@100": 100}


def main() -> None:
    """Measure, and print a row a way to count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learned", type=float, default=0.8, help="share of the events that is learned first")
    parser.add_argument("--predicted", type=int, default=4_000, help="acts that are predicted, evenly spread")
    options = parser.parse_args()
    events, _ = movielens()
    n = int(options.learned * len(events))
    item_ids = sorted({event.item_id for event in events})
    numbers = {hash64(item_id): number for number, item_id in enumerate(item_ids)}
    contributions = taught(events[:n])
    exact, popularity = counted_exactly(contributions, numbers)
    published = counted_by_eddy(contributions, numbers)
    every = max(1, (len(events) - n) // options.predicted)
    table = Table("counts", *FIGURES, "of exact recall")
    recall = 0.0
    for name, counts in (("exact", exact), (f"Eddy's, {N_PUBLISHED} published", published)):
        ranks = ranks_by(counts, popularity, events, n, every, numbers)
        found = [float((ranks <= k).mean()) for k in FIGURES.values()]
        recall = recall or found[-1]
        table.add_row(name, *(f"{share:.4f}" for share in found), f"{found[-1] / recall:.3f}")
    Console(file=sys.stdout, width=100).print(table)


def taught(events: list[Event]) -> list[Contribution]:
    """Say what each event teaches, as `learn` does."""
    config, profile = EventConfig(), ProfileConfig()
    users: defaultdict[str, UserTransitions] = defaultdict(lambda: UserTransitions(profile))
    acts = [(event.user_id, act_of(event, config)) for event in events]
    learned = [users[user_id].apply(act) for user_id, act in acts if act is not None]
    return [one for one in learned if isinstance(one, Contribution)]


def counted_exactly(contributions: list[Contribution], numbers: dict[int, int]) -> tuple[Doubles, Doubles]:
    """Count with a cell a pair: (I, I) co-visits and (I,) visits, decayed to the newest event."""
    counts, visits = np.zeros((len(numbers), len(numbers))), np.zeros(len(numbers))
    half_life_ms, at = ItemSideConfig().half_life_long_ms, contributions[-1].at
    for one in track(contributions, "counting exactly", console=CONSOLE, transient=True):
        item, weight = numbers[one.item], 2.0 ** ((one.at - at) / half_life_ms)
        visits[item] += one.weight * weight
        for before in one.previous:
            other = numbers[before]
            if other != item:
                counts[item, other] += weight
                counts[other, item] += weight
    return counts, visits


def counted_by_eddy(contributions: list[Contribution], numbers: dict[int, int]) -> Doubles:
    """Count as one shard does: (I, I) what it would publish, decayed to the newest event."""
    config = ItemSideConfig()
    statistics = ItemStatistics(config.half_life_short_ms, config.half_life_long_ms, max_items=config.max_items)
    for first in track(range(0, len(contributions), 256), "counting in cells", console=CONSOLE, transient=True):
        batch = contributions[first : first + 256]
        [added] = add_up(batch, 1, config.half_life_long_ms, config.half_life_between_ms)
        statistics.learn(added)
    counts = np.zeros((len(numbers), len(numbers)))
    at = contributions[-1].at
    for row in statistics.take_changed(statistics.n):
        others = [numbers[item] for item in row.neighbours.items.tolist()]
        faded = 2.0 ** ((row.reference_at - at) / config.half_life_long_ms)
        counts[numbers[hash64(row.item_id)], others] = row.neighbours.covisit_weights * faded
    return counts


def ranks_by(
    counts: Doubles, visits: Doubles, events: list[Event], n: int, every: int, numbers: dict[int, int]
) -> Int64s:
    """Rank what came next among all items, ties before it, for one in `every` events from the n-th on."""
    damped = counts / np.sqrt(np.outer(visits + SMOOTHING, visits + SMOOTHING))
    history: defaultdict[str, list[int]] = defaultdict(list)
    ranks = []
    for index, event in enumerate(track(events, "predicting", console=CONSOLE, transient=True)):
        item, seen = numbers[hash64(event.item_id)], history[event.user_id]
        if index >= n and seen and not (index - n) % every:
            last = seen[: -N_LAST - 1 : -1]
            scores = np.exp(-np.arange(len(last)) / RECENCY) @ damped[last]
            scores[seen] = 0
            ranks.append((scores >= scores[item]).sum() if scores[item] > 0 else len(numbers))
        seen.append(item)
    return np.array(ranks)


if __name__ == "__main__":
    main()
