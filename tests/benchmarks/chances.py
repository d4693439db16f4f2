"""Whether the funnel's chances can be believed: what was said of items when they were shown, and what came of them.

`python -m tests.benchmarks.chances simulated`, or a file of events (`all.jsonl.gz --catalog catalog.jsonl.gz --events
40000`). Every chance is one that a slate carried: of the version that was in service when it was made.
"""

import argparse
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dataflows.files.event_files import load_events, load_items
from dataflows.run.settings import EventSettings, FunnelSettings
from models.config import AttributionConfig, ItemSideConfig, OnlineConfig, ProfileConfig
from models.counts.item_side import ItemSide
from models.events import EventConfig
from models.messages import Event, Item, LikelyItem, Slate
from models.names import FEATURE_SET, FEATURES, FUNNEL, STAGES
from models.numeric.arrays import Doubles
from models.numeric.reliability import N_BINS, calibration_error, reliability
from models.offline.walk import Users
from models.online.attribution import UserAttribution
from models.online.learner import OnlineRanker
from models.online.outcome import ClosedSlate, ShownItem, ShownSlate
from models.rankers.served import FunnelRanker
from models.serving.recommender import Recommender
from models.strategy import Strategy

BLOCK = 256
"""Messages after which tables learn, and slates are decided."""
ATTRIBUTION = AttributionConfig(windows_s={"purchase": 86_400})
HOUR_MS = 3_600_000
NOW = 1_700_000_000_000


@dataclass
class Learning:
    """What `learn` does with slates and events, and what came of the chances that the slates carried."""

    events: EventConfig
    attribution: AttributionConfig = ATTRIBUTION
    ranker: OnlineRanker = field(default_factory=lambda: OnlineRanker(FUNNEL, OnlineConfig()))
    said: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Chances of each item (S,), by slate."""
    tables: dict[str, Doubles] = field(default_factory=lambda: {stage: np.zeros((N_BINS, 3)) for stage in STAGES})
    constant: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    n_versions: int = 0

    def __post_init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.users: dict[str, UserAttribution] = {}
        self.stage_of = FunnelSettings().stage_of(replace_events(self.events))

    def user(self, name: str) -> UserAttribution:
        if name not in self.users:
            self.users[name] = UserAttribution(
                self.attribution, self.events.weights, self.counts, decides_clicks_early=True
            )
        return self.users[name]

    def show(self, slate: ShownSlate, chances: dict[str, list[float]]) -> None:
        self.said[slate.recommendation_id] = chances
        self.user(slate.user_id).show(slate)

    def close(self, at: int) -> bool:
        """Decide what can be by now; say whether another version is in service."""
        closed = [slate for user in self.users.values() for slate in user.close(at)]
        for slate in closed:
            self._judge(slate)
        examples = [slate.example(self.stage_of) for slate in closed]
        published = self.ranker.learn([example for example in examples if example is not None])
        self.n_versions += len(published)
        return bool(published)

    def _judge(self, slate: ClosedSlate) -> None:
        chances = self.said[slate.outcomes[0].recommendation_id]
        example = slate.example(self.stage_of)
        if not chances or example is None:
            return
        for outcome, reached in zip(slate.outcomes, example.stages, strict=True):
            for index, stage in enumerate(STAGES):
                if slate.decided >> index & 1:
                    said = chances[outcome.item_id][index]
                    self.tables[stage] += reliability(np.array([said]), np.array([bool(reached >> index & 1)]))


def replace_events(events: EventConfig) -> EventSettings:
    return EventSettings(weights=events.weights, owning_types=events.owning_types)


def show_tables(learning: Learning, console: Console) -> None:
    table = Table("stage", "items", "predicted", "came true", "ECE", "largest gap of a bin with 1,000 items")
    for stage, sums in learning.tables.items():
        n, predicted, came_true = sums.sum(axis=0)
        large = sums[sums[:, 0] >= 1_000]
        gap = np.abs(large[:, 1] - large[:, 2]) / large[:, 0]
        table.add_row(
            stage, f"{n:,.0f}", f"{predicted / max(n, 1):.4f}", f"{came_true / max(n, 1):.4f}",
            f"{calibration_error(sums):.4f}", f"{gap.max():.4f}" if len(gap) else "",
        )  # fmt: skip
    console.print(
        f"{learning.n_versions} versions, {learning.ranker.n_slates:,} learned, {learning.ranker.n_drifts} alarms"
    )
    console.print(table)


def replay(file: Path, catalog: Path | None, n: int) -> Learning:
    """Make the slates of a past, and judge the chances that they carried by what users did."""
    settings = EventSettings()
    events: list[Event] = load_events(file, settings)[:n]
    items: list[Item] = load_items(catalog, settings) if catalog else []
    side = ItemSide(items, events[0].timestamp, ItemSideConfig(), EventConfig(), ProfileConfig())
    users, learning = Users(ProfileConfig(), EventConfig()), Learning(EventConfig())
    recommender = Recommender(side.table, awaited=[FUNNEL], log_features=True)
    strategy = Strategy(allow_seen=True)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=len(events))
        for start in range(0, len(events), BLOCK):
            block = events[start : start + BLOCK]
            queries = [query for event in block if (query := users.query(event, side.table, strategy)) is not None]
            for slate in recommender.recommend(queries):
                learning.show(shown(slate), chances_of(slate))
            for event in block:
                learning.user(event.user_id).take(event)
            side.learn(block)
            if learning.close(block[-1].timestamp - 600_000):
                recommender.swap(FUNNEL, learning.ranker.service)
            bar.update(task, completed=start + len(block))
    learning.close(events[-1].timestamp - 600_000)
    return learning


def shown(slate: Slate) -> ShownSlate:
    items = [ShownItem(one.item_id, one.position, one.propensity) for one in slate.items]
    return ShownSlate(
        slate.recommendation_id, slate.user_id, slate.created_at, None, None, slate.model_version, FEATURE_SET, items,
        features=slate.features,
    )  # fmt: skip


def chances_of(slate: Slate) -> dict[str, list[float]]:
    return {
        item.item_id: [item.p_click, item.p_cart, item.p_purchase]
        for item in slate.items
        if isinstance(item, LikelyItem)
    }


def simulated(console: Console, n_slates: int = 24_000) -> Learning:
    """Let an audience of known taste click, put aside and buy, some at once and some after hours; half-way it likes
    twice as much of what it is shown."""
    rng = np.random.default_rng(0)
    learning = Learning(EventConfig())
    weights = rng.normal(size=(3, 6)) * np.array([[0.7], [0.6], [0.6]])
    intercepts = np.array([-2.6, -1.2, -1.8])
    truth: list[tuple[float, float]] = []
    for k in range(n_slates):
        at = NOW + k * 20_000
        user, slate_id = f"u{rng.integers(1_000)}", f"r{k}"
        features = np.zeros((10, len(FEATURES)), np.float32)
        features[:, :6] = rng.normal(size=(10, 6))
        shift = -0.9 * np.log1p(np.arange(10))
        logits = features[:, :6] @ weights.T + intercepts + np.stack([shift, 0 * shift, 0 * shift], axis=1)
        logits[:, 0] += np.log(2) * (k >= n_slates / 2)
        chances = 1 / (1 + np.exp(-logits))
        names = [f"i{rng.integers(10**9)}" for _ in range(10)]
        model = learning.ranker.service
        said = {}
        if model is not None:
            found = FunnelRanker(model.model).chances(features[None], np.arange(10)[None])[0]  # type: ignore[arg-type]
            said = dict(zip(names, found.astype(float).tolist(), strict=True))
            truth += zip(found[:, 0].tolist(), chances[:, 0].tolist(), strict=True)
        items = [ShownItem(name, position, 1.0, features[position].tolist()) for position, name in enumerate(names)]
        learning.show(ShownSlate(slate_id, user, at, None, None, "v", FEATURE_SET, items), said)
        for name, (click, cart, purchase) in zip(names, chances.tolist(), strict=True):
            if rng.random() < click:
                act(learning, user, name, "click", at + int(rng.integers(1, 600_000)))
                if rng.random() < cart:
                    act(learning, user, name, "cart", at + int(rng.integers(600_000, 1_800_000)))
                if rng.random() < purchase:
                    act(learning, user, name, "purchase", at + int(rng.integers(600_000, 20 * HOUR_MS)))
        if k % 64 == 0:
            learning.close(at)
    learning.close(NOW + n_slates * 20_000 + 48 * HOUR_MS)
    said_and_true = np.array(truth)
    distance = np.abs(said_and_true[:, 0] - said_and_true[:, 1]).mean()
    console.print(f"mean distance of a click's chance from the truth: {distance:.4f}")
    return learning


def act(learning: Learning, user: str, item: str, event_type: str, at: int) -> None:
    learning.user(user).take(Event(f"{item}-{event_type}", user, item, event_type, at))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="a file of events, or `simulated`")
    parser.add_argument("--catalog", type=Path)
    parser.add_argument("--events", type=int, default=40_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120, file=sys.stdout)
    if options.what == "simulated":
        learning = simulated(console)
    else:
        learning = replay(Path(options.what), options.catalog, options.events)
    show_tables(learning, console)


if __name__ == "__main__":
    main()
