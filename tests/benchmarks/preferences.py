"""What the profile's learner is worth: an MLP with its feature and one without, on the same slates of real data.

`python -m tests.benchmarks.preferences all.jsonl.gz --catalog catalog.jsonl.gz --events 70000`, or `movielens` for the
file. The past is walked through as the flow goes. Of the slates whose candidates hold what the user did next, the first
three fifths train, the next fifth validates and the last tests; the differences are paired, means over the seeds.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dataflows.demo.world import movielens, split_users
from dataflows.files.event_files import load_events, load_items
from dataflows.run.settings import EventSettings
from models.messages import Event, Item
from models.names import FEATURES
from models.numeric.arrays import Doubles, Int64s
from models.numeric.metrics import ranks_of
from models.offline.walk import Examples, WalkConfig, walk
from models.rankers.fit import TrainConfig, fit, losses_of
from models.rankers.network import Network
from models.rankers.served import NetworkRanker

LEARNED = FEATURES.index("preference")
FIGURES = ("log-likelihood", "MRR", "HR@10")
BATCH = 256


def main() -> None:
    """Measure, and print a row a part and figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="events, or `movielens`")
    parser.add_argument("--catalog", type=Path, help="items")
    parser.add_argument("--users", type=float, default=1.0, help="share of the users, drawn")
    parser.add_argument("--events", type=int, default=70_000, help="the first so many of theirs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--examples", type=int, default=12_000, help="most that a network learns from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    examples = gather(*read(options.file, options.catalog, options.users, options.events))
    cuts = (np.array([0.6, 0.8]) * examples.n).astype(int)
    train, *judges = examples[: cuts[0]], examples[cuts[0] : cuts[1]], examples[cuts[1] :]
    drawn = np.random.default_rng(0).permutation(train.n) < options.examples
    figures = [earned(train[drawn], judges, seed) for seed in range(options.seeds)]
    table = Table("part", "slates", "figure", "off", "on - off", "standard error")
    for part, (name, judged) in enumerate(zip(("validation", "test"), judges, strict=True)):
        off, on = np.mean([figure[part] for figure in figures], axis=0)  # (3, B) each
        for figure, without, difference in zip(FIGURES, off, on - off, strict=True):
            error = standard_error(difference, judged.inputs.users)
            row = f"{without.mean():.4f}", f"{difference.mean():+.4f}", f"{error:.4f}"
            table.add_row(name, f"{judged.n:,}", figure, *row)
    Console(width=100, file=sys.stdout).print(table)


def read(file: str, catalog: Path | None, share: float, n: int) -> tuple[list[Event], list[Item]]:
    """Read the first n events of a share of the users, and the items."""
    if file == "movielens":
        events, items = movielens()
    else:
        events = load_events(Path(file), EventSettings())
        items = load_items(catalog, EventSettings()) if catalog else []
    _, drawn = split_users(events, share, "preferences")
    return drawn[:n], items


def gather(events: list[Event], items: list[Item]) -> Examples:
    """Walk through the past; keep what a ranker can learn from, in order."""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("walking", total=len(events))
        parts = walk(events, items, WalkConfig(), lambda done, _: bar.update(task, completed=done))
        return Examples.joined([part[part.answered] for part in parts])


def earned(train: Examples, judges: list[Examples], seed: int) -> list[Doubles]:
    """Train without the learner's feature, then with it: for each part (2, 3, B) figures of its slates."""
    networks = []
    for trained in (without(train), train):
        config = TrainConfig(seed=seed)
        networks.append(fit(trained.inputs, trained.label_index, trained.present, config))
    off, on = networks
    return [np.stack([figures_of(off, without(judged)), figures_of(on, judged)]) for judged in judges]


def without(examples: Examples) -> Examples:
    """Take the learner's feature away."""
    features = examples.inputs.features.copy()
    features[:, :, LEARNED] = 0
    return replace(examples, inputs=replace(examples.inputs, features=features))


def figures_of(network: Network, examples: Examples) -> Doubles:
    """Judge a network by what users did next: (3, B) in the order of FIGURES."""
    ranker = NetworkRanker(network)
    found = []
    for first in range(0, examples.n, BATCH):
        part = examples[first : first + BATCH]
        ranks = ranks_of(ranker.score(part.inputs), part.present, part.label_index)
        losses = losses_of(network, part.inputs, part.label_index, part.present, "softmax")
        found.append(np.stack([-losses, 1 / ranks, ranks <= 10]))
    return np.concatenate(found, axis=1)


def standard_error(differences: Doubles, users: Int64s) -> float:
    """Return the standard error of the mean of (B,) differences, of which those of one user go together."""
    _, owners = np.unique(users, return_inverse=True)
    sums = np.bincount(owners, differences - differences.mean())
    return float(np.sqrt((sums**2).sum()) / len(differences))


if __name__ == "__main__":
    main()
