"""The field of a backtest: every baseline, every ranker, and the default pipeline."""

from dataclasses import replace

from models.names import SourceName
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.contenders import Contender, Pipeline, Popularity
from models.offline.backtest.item_counts import ItemCounts
from models.strategy import Strategy

DEFAULT = "eddy"
"""The default pipeline's row."""
BASELINES: dict[str, SourceName] = {
    "recent_popularity": "trending",
    "sequential_rules": "sequential_rules",
    "covisitation": "covisitation",
    "session_knn": "session_knn",
    "content": "content",
}
"""Each row that is one candidate source by itself."""


def as_asked(strategy: Strategy, config: BacktestConfig) -> Strategy:
    """Put a strategy under the rules of a backtest: the slate's length, what may return, and no exploration.

    What is drawn by chance is shown to learn from the answer, and the past gives none on what it did not show.
    """
    return replace(
        strategy,
        n_items=config.k,
        n_candidates=max(strategy.n_candidates, config.k),
        exploration_slots=0,
        allow_seen=not config.exclude_seen,
        allow_owned=not config.exclude_seen,
        allow_current=config.repeats == "keep",
    )


def contenders(strategy: Strategy, config: BacktestConfig, counts: ItemCounts) -> list[Contender]:
    """List all that is compared.

    Baselines and rankers are judged by their order alone, without caps and diversity; the default as it serves.

    Parameters
    ----------
    strategy : the default.
    counts : what the all-time popularity goes by.
    """
    served = as_asked(strategy, config)
    plain = ordered_only(served)
    return [
        Popularity("popularity", plain, counts),
        *(Pipeline(name, replace(plain, sources={source: 1.0})) for name, source in BASELINES.items()),
        Pipeline("blend", plain),
        Pipeline("mlp", plain, learns=True),
        Pipeline(DEFAULT, replace(served, ranker="blend"), learns=True),
    ]


def ordered_only(strategy: Strategy) -> Strategy:
    """Leave a strategy its order, by the blend, and take away what changes it afterwards."""
    return replace(strategy, ranker="blend", diversity=0, max_per_category=10_000)
