"""Whether the funnel's chances can be believed: what was said of items when they were shown, and what came of them.

`python -m tests.benchmarks.chances WHAT`: `simulated`; a file of events (`all.jsonl.gz --catalog catalog.jsonl.gz
--events 40000`), whose chances are those that slates carried, of the version that was in service when they were made;
or the folder `obp/dataset/obd` of the package obp 0.4.1, whose people really saw what they clicked or did not.
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
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
from models.numeric.ids import hash64
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
MATURE = 10_000
"""Impressions of Open Bandit Data, before which nothing is judged."""
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
    losses: dict[str, Doubles] = field(default_factory=lambda: {stage: np.zeros(2) for stage in STAGES})
    """Log-losses added up: of what was said, and of how often the stage had come about until then."""
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
                    said, came_true = chances[outcome.item_id][index], bool(reached >> index & 1)
                    n, _, n_true = self.tables[stage].sum(axis=0)
                    rates = np.clip([said, (n_true + 0.5) / (n + 1)], 1e-9, 1 - 1e-9)
                    self.losses[stage] -= np.log(rates if came_true else 1 - rates)
                    self.tables[stage] += reliability(np.array([said]), np.array([came_true]))


def replace_events(events: EventConfig) -> EventSettings:
    return EventSettings(weights=events.weights, owning_types=events.owning_types)


def show_tables(learning: Learning, console: Console) -> None:
    table = Table("stage", "items", "predicted", "came true", "ECE", "largest gap, 1,000 items", "log-loss", "of rates")
    for stage, sums in learning.tables.items():
        n, predicted, came_true = sums.sum(axis=0)
        large = sums[sums[:, 0] >= 1_000]
        gap = np.abs(large[:, 1] - large[:, 2]) / large[:, 0]
        table.add_row(
            stage, f"{n:,.0f}", f"{predicted / max(n, 1):.4f}", f"{came_true / max(n, 1):.4f}",
            f"{calibration_error(sums):.4f}", f"{gap.max():.4f}" if len(gap) else "",
            *(f"{loss / max(n, 1):.5f}" for loss in learning.losses[stage]),
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


def open_bandit(folder: Path) -> Learning:
    """Take the impressions of Open Bandit Data as slates of one item each, in the order of time, both policies and all
    three campaigns; what they say of users and items is hashed to as many features as a slate logs. What is judged is
    the learner before each batch, since with some 300 clicks no version has to prove better than their rate.

    Reference: Y. Saito, S. Aihara, M. Matsutani, Y. Narita. Open Bandit Dataset and Pipeline. NeurIPS 2021, track on
    datasets and benchmarks.
    """
    learning = Learning(EventConfig())
    log = pl.concat([_impressions(file) for file in sorted(folder.glob("*/*/*.csv")) if file.stem == file.parent.name])
    log = log.sort("timestamp", maintain_order=True)
    named = [column for column in log.columns if column.startswith(("user_feature", "item_feature", "shop"))]
    starts_at, learner = log["timestamp"][0], None
    for k, row in enumerate(log.iter_rows(named=True)):
        at = NOW + (row["timestamp"] - starts_at) // timedelta(milliseconds=1)
        features = np.zeros(len(FEATURES), np.float32)
        features[:2] = row["weight"], row["affinity"]
        for name in named:
            features[2 + hash64(f"{name} {row[name]}") % (len(FEATURES) - 2)] += 1
        user, item, position = f"u{k}", f"{row['shop']}-{row['item_id']}", int(row["position"]) - 1
        said: dict[str, list[float]] = {}
        if k >= MATURE and learner is not None:
            chances = learner.chances(features[None, None], np.array([[position]]))[0, 0]
            said = {item: chances.astype(float).tolist()}
        one = ShownItem(item, position, row["propensity_score"], features.tolist())
        learning.show(ShownSlate(f"r{k}", user, at, None, None, "v", FEATURE_SET, [one]), said)
        if row["click"]:
            act(learning, user, item, "click", at + 1)
        if k % BLOCK == 0:
            learning.close(at)
            learner = FunnelRanker(learning.ranker.learner.checkpoint().model)  # type: ignore[arg-type]
    learning.close(at + 48 * HOUR_MS)
    return learning


def _impressions(file: Path) -> pl.DataFrame:
    """Read what a campaign showed, with what is known of the items, and how much the user liked each before."""
    log = pl.read_csv(file, try_parse_dates=True)
    affinity = log.select("^user-item_affinity_.*$").to_numpy()[np.arange(len(log)), log["item_id"].to_numpy()]
    items = pl.read_csv(file.with_name("item_context.csv")).rename({"item_feature_0": "weight"}).drop("")
    return (
        log.select("timestamp", "item_id", "position", "click", "propensity_score", "^user_feature_.$")
        .with_columns(affinity=affinity, shop=pl.lit(file.stem))
        .join(items, on="item_id", maintain_order="left")
    )


def act(learning: Learning, user: str, item: str, event_type: str, at: int) -> None:
    learning.user(user).take(Event(f"{item}-{event_type}", user, item, event_type, at))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", help="`simulated`, a file of events, or the folder of Open Bandit Data")
    parser.add_argument("--catalog", type=Path)
    parser.add_argument("--events", type=int, default=40_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120, file=sys.stdout)
    if options.what == "simulated":
        learning = simulated(console)
    elif Path(options.what).is_dir():
        learning = open_bandit(Path(options.what))
    else:
        learning = replay(Path(options.what), options.catalog, options.events)
    show_tables(learning, console)


if __name__ == "__main__":
    main()
