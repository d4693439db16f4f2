"""Whether learning from clicks can be believed: simulated audiences of known taste, and what `learn` makes of them.

`python -m tests.benchmarks.learning [NAME ...]` prints each simulation with its level; without a name all of them:
`promotion`, `equals`, `superseded`, `reversal`, `pause`.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.config import AttributionConfig, OnlineConfig
from models.messages import Event
from models.names import EVENT_WEIGHTS, FEATURE_SET, FEATURES
from models.numeric.metrics import pairwise_auc
from models.online.attribution import UserAttribution
from models.online.learner import OnlineRanker
from models.online.outcome import ShownItem, ShownSlate
from models.online.published import Published
from models.rankers.checkpoint import Checkpoint
from models.rankers.inputs import SlateExample, collate
from models.rankers.served import BlendRanker, NetworkRanker, Ranker
from tests.models.online.simulated import Audience, Oracle, linear_taste, no_taste
from tests.models.rankers.builders import by_feature, some_slates

CONFIG = OnlineConfig()
N_SLATES, PER_DECISION = 12_800, 256
N_RUNS, N_LOOKS, PER_LOOK = 500, 50, 16
NOW = 1_700_000_000_000


def served(checkpoint: Checkpoint | None) -> Ranker:
    return BlendRanker() if checkpoint is None else NetworkRanker(checkpoint.model)


def promotion(console: Console) -> None:
    """Let learners earn their place by slates that they themselves come to serve."""
    table = Table("examination", "blend", "6,400 slates", "12,800 slates", "ideal", "versions", "rollbacks")
    for steepness in (1.0, 0.5):
        audience, ranker = Audience(steepness=steepness), OnlineRanker("mlp", CONFIG)
        published: list[Published] = []
        reached = [audience.click_probability(BlendRanker())]
        for number in range(1, N_SLATES // PER_DECISION + 1):
            found = ranker.learn(list(audience.serve(served(ranker.service), PER_DECISION)))
            published += [one for one in found if isinstance(one, Published)]
            if number * PER_DECISION in {N_SLATES // 2, N_SLATES}:
                reached.append(audience.click_probability(served(ranker.service)))
        reached.append(audience.click_probability(Oracle(linear_taste)))
        n_back = sum(one.is_rollback for one in published)
        figures = [f"{one:.3f}" for one in reached]
        table.add_row(f"1 / position ** {steepness:g}", *figures, str(len(published) - n_back), str(n_back))
    console.print("the click probability of a slate, by whatever was in service", table)


def equals(console: Console) -> None:
    """Let rankers learn where there is nothing to learn; every version that goes into service is one too many."""
    config = replace(CONFIG, batch_size=PER_LOOK, publish_every=1, guard_slates=64, min_judged=16)
    table = Table("slates", "runs of 50 looks", "with a swap", "looks that one standard error would have swapped at")
    for name, n_users, spread in (("independent", 5_000, 0.0), ("clustered by user", 20, 2.0)):
        n_swapped = n_naive = n_looks = 0
        for seed in range(N_RUNS):
            audience = Audience(no_taste, n_users=n_users, spread=spread, seed=seed)
            ranker = OnlineRanker("linear", config)
            for _ in range(N_LOOKS):
                has_swapped = bool(ranker.learn(list(audience.serve_few(PER_LOOK))))
                gains = np.array([slate.learner - slate.service for slate in ranker.guard.judged])
                n_naive += bool(len(gains) and gains.mean() > gains.std() / np.sqrt(len(gains)) > 0)
                n_looks += 1
                if has_swapped:
                    n_swapped += 1
                    break
        table.add_row(name, str(N_RUNS), f"{n_swapped / N_RUNS:.1%}", f"{n_naive / n_looks:.1%}")
    console.print("equal rankers: versions that go into service", table)


def superseded(console: Console) -> None:
    """Push five slates with an item, a second apart, and click it once."""
    table = Table("seconds to count", "labels")
    for seconds in (0.0, AttributionConfig().seconds_to_count):
        user = UserAttribution(AttributionConfig(seconds_to_count=seconds), EVENT_WEIGHTS, Counter())
        item = [ShownItem("i", 0, 1.0, [0.5] * len(FEATURES))]
        for k in range(5):
            user.show(ShownSlate(f"r-{k}", "u", NOW + 1_000 * k, None, None, "v", FEATURE_SET, item))
        user.take(Event("e", "u", "i", "click", NOW + 9_000))
        labels = [f"{one.label:.0f}" for slate in user.close(NOW + 10**8) for one in slate.outcomes]
        table.add_row(f"{seconds:g}", " ".join(labels))
    console.print("five slates with an item, a second apart, and one click", table)


def auc(ranker: Ranker, slates: list[SlateExample]) -> float:
    unseen = collate(slates)
    return float(np.nanmean(pairwise_auc(ranker.score(unseen.inputs), unseen.labels, unseen.present)))


LEARNING = {
    "without rehearsal": replace(CONFIG, rehearsed=0.0, alarm_slates=0),
    "rehearsal of all time, alarms unheard": replace(CONFIG, rehearsal_half_life=10**9, alarm_slates=0),
    "as shipped": CONFIG,
}
LIKED, DISLIKED, ELSEWHERE = by_feature(2), by_feature(2, -1.0), by_feature(5)


def reversal(console: Console) -> None:
    """Let all users turn to the opposite taste after 12,800 slates; no feature says so."""
    table = Table("", "AUC before", "640 slates after", "1,280", "1,920")
    before, after = some_slates(12_800, LIKED, seed=1), some_slates(1_920, DISLIKED, seed=2)
    old, new = some_slates(500, LIKED, seed=3), some_slates(500, DISLIKED, seed=4)
    for name, config in LEARNING.items():
        ranker = OnlineRanker("mlp", replace(config, publish_every=10**6))
        ranker.learn(before)
        found = [auc(ranker.learner, old)]
        for start in range(0, 1_920, 640):
            ranker.learn(after[start : start + 640])
            found.append(auc(ranker.learner, new))
        table.add_row(name, *(f"{one:.3f}" for one in found))
    console.print("taste reversed", table)


def pause(console: Console) -> None:
    """Let a domain pause for 4,800 slates of another, in which another feature counts; no feature names the domain."""
    table = Table("", "AUC before the pause", "on its return", "AUC of the other domain")
    here, there = some_slates(6_400, LIKED, seed=1), some_slates(4_800, ELSEWHERE, seed=2)
    unseen, unseen_there = some_slates(500, LIKED, seed=3), some_slates(500, ELSEWHERE, seed=4)
    for name, config in LEARNING.items():
        ranker = OnlineRanker("mlp", replace(config, publish_every=10**6))
        ranker.learn(here)
        known = auc(ranker.learner, unseen)
        ranker.learn(there)
        found = known, auc(ranker.learner, unseen), auc(ranker.learner, unseen_there)
        table.add_row(name, *(f"{one:.3f}" for one in found))
    console.print("a domain that pauses", table)


SIMULATIONS: dict[str, Callable[[Console], None]] = {
    "promotion": promotion,
    "equals": equals,
    "superseded": superseded,
    "reversal": reversal,
    "pause": pause,
}


def main() -> None:
    """Run the simulations that are named, all by default."""
    torch.set_num_threads(1)
    console = Console(width=110)
    for name in sys.argv[1:] or SIMULATIONS:
        SIMULATIONS[name](console)


if __name__ == "__main__":
    main()
