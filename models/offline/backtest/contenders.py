"""What a backtest compares: every baseline, every ranker and the default pipeline."""

from dataclasses import replace

from models.names import SourceName
from models.offline.backtest.baselines.ease import Ease
from models.offline.backtest.baselines.matrix_factorisation import MatrixFactorisation
from models.offline.backtest.baselines.own_items import OwnItems
from models.offline.backtest.baselines.popularity import Popularity
from models.offline.backtest.config import BacktestConfig, Progress
from models.offline.backtest.contender import Contender
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.pipeline import Pipeline, as_asked, ordered_only
from models.offline.backtest.training_set import TrainingSet
from models.strategy import Strategy

DEFAULT = "eddy"
"""The default pipeline's row."""
SOURCE_ROWS: dict[str, SourceName] = {
    "recent_popularity": "trending",
    "sequential_rules": "sequential_rules",
    "covisitation": "covisitation",
    "session_knn": "session_knn",
    "habits": "habits",
    "content": "content",
    "sequence": "sequence",
}
"""Each row that is one candidate source by itself."""


def contenders(
    strategy: Strategy, config: BacktestConfig, counts: ItemCounts, trained: list[Contender] | None = None
) -> list[Contender]:
    """List all that is compared.

    Baselines and rankers are judged by their order alone, without caps and diversity; the default as it serves.

    Parameters
    ----------
    strategy : the default.
    counts : what the all-time popularity goes by.
    trained : baselines that learned a training set (`trained_baselines`); none where the test is not frozen.
    """
    served = as_asked(strategy, config)
    plain = ordered_only(served)
    compared: list[Contender] = [
        Popularity("popularity", plain, counts),
        OwnItems("own_items", plain),
        *(trained or ()),
        *(Pipeline(name, _single(plain, source)) for name, source in SOURCE_ROWS.items()),
        Pipeline("blend", plain, blends=True),
        Pipeline(config.fit.kind, plain, learns=True, blends=True),
        Pipeline(DEFAULT, replace(served, ranker="blend"), learns=True, blends=True),
    ]
    if config.checkpoint is not None:
        for contender in compared:
            contender.adopt(config.checkpoint)
    return compared


def _single(strategy: Strategy, source: SourceName) -> Strategy:
    return replace(strategy, sources={source: 1.0}, sources_by_session=())


def trained_baselines(
    strategy: Strategy, config: BacktestConfig, train: TrainingSet, progress: Progress
) -> list[Contender]:
    """Train the baselines that learn from a frozen training set; a new one is a line more."""
    plain = ordered_only(as_asked(strategy, config))
    return [
        MatrixFactorisation("mf", plain, train, progress, seed=config.seed),
        Ease("ease", plain, train, progress),
    ]
