"""What rankers cost: scoring a hundred candidates, a step on a slate, and attributing one.

`python -m tests.benchmarks.rankers` prints a table; one thread, the median of the repeats.
"""

from collections import Counter
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.config import AttributionConfig
from models.messages import Event
from models.names import EVENT_WEIGHTS, FEATURE_SET, FEATURES, LEARNERS
from models.online.attribution import UserAttribution
from models.online.outcome import ShownItem, ShownSlate
from models.rankers.inputs import N_HISTORY, Inputs, Labelled
from models.rankers.learners import new_learner
from models.rankers.served import BlendRanker, NetworkRanker

N_QUERIES, N_CANDIDATES, N_SLATES, N_ITEMS = 128, 100, 32, 10
NOW = 1_700_000_000_000


def micros(work: Callable[[], object], n: int, repeats: int = 15) -> float:
    """Return the microseconds that one of n takes, as the median of the repeats."""
    laps: list[float] = []
    work()
    for _ in range(repeats):
        started = perf_counter()
        work()
        laps.append(perf_counter() - started)
    return 1e6 * float(np.median(laps)) / n


def some_inputs(b: int, c: int) -> Inputs:
    rng = np.random.default_rng(0)
    return Inputs(
        rng.random((b, c, len(FEATURES)), np.float32),
        rng.integers(1, 2**62, (b, c)),
        rng.integers(1, 2**62, b),
        rng.integers(1, 2**62, (b, N_HISTORY)),
    )


def attributing(n: int = 500) -> float:
    """Attribute slates of ten items to one user, each with a click, half an hour after they were shown."""
    config = AttributionConfig()
    items = [ShownItem(f"i-{k}", k, 1.0, [0.5] * len(FEATURES)) for k in range(N_ITEMS)]

    def work() -> None:
        user = UserAttribution(config, EVENT_WEIGHTS, Counter())
        for k in range(n):
            at = NOW + 60_000 * k
            user.show(ShownSlate(f"r-{k}", "u", at, None, None, "v", FEATURE_SET, items))
            user.take(Event(f"e-{k}", "u", "i-3", "click", at + 1_000))
            user.close(at)

    return micros(work, n, repeats=5)


def main() -> None:
    """Print what each costs."""
    torch.set_num_threads(1)
    asked, shown = some_inputs(N_QUERIES, N_CANDIDATES), some_inputs(N_SLATES, N_ITEMS)
    labels = (np.random.default_rng(1).random((N_SLATES, N_ITEMS)) < 0.1).astype(np.float32)
    labelled = Labelled(shown, labels, np.ones_like(labels))
    table = Table("ranker", f"score {N_CANDIDATES} candidates, µs", "learn a slate, µs", "state, KB", "version, KB")
    table.add_row("blend", f"{micros(lambda: BlendRanker().score(asked), N_QUERIES):.1f}", "", "", "")
    for name in LEARNERS:
        learner = new_learner(name)
        learning = micros(lambda learner=learner: learner.learn(labelled), N_SLATES)  # type: ignore[misc]
        checkpoint = learner.checkpoint()
        served = NetworkRanker(checkpoint.model)
        scoring = micros(lambda served=served: served.score(asked), N_QUERIES)  # type: ignore[misc]
        sizes = [f"{len(data) / 1e3:,.0f}" for data in (learner.snapshot(), checkpoint.to_bytes())]
        table.add_row(name, f"{scoring:.1f}", f"{learning:.1f}", *sizes)
    console = Console(width=100)
    console.print(table)
    console.print(f"attributing a slate of {N_ITEMS} items with a click: {attributing():.1f} µs")


if __name__ == "__main__":
    main()
