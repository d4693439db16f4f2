"""Weights of the sources that a backtest fits on the way."""

from dataclasses import replace

import pytest

from models.counts.item_side import ItemSide
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.outcomes import Outcomes
from models.offline.backtest.pipeline import Pipeline, as_asked, ordered_only
from models.offline.backtest.prequential import Prequential
from models.offline.backtest.ranker import learn_with_ranker
from models.rankers.fit import TrainConfig
from models.strategy import SessionSources, Strategy
from tests.models.offline.builders import NOW, news

QUICK = BacktestConfig(
    k=5, exclude_seen=True, warmup=0.6, n_timed=0, trains_sequence=False, fit=TrainConfig(max_epochs=1)
)
STRATEGY = as_asked(Strategy(n_candidates=40, n_from_each=2), QUICK)


@pytest.fixture(scope="module")
def of_news() -> Outcomes:
    plain = ordered_only(STRATEGY)
    compared = [
        Pipeline("trending", replace(plain, sources={"trending": 1.0})),
        Pipeline("as set", plain),
        Pipeline("fitted", plain, blends=True),
    ]
    side = ItemSide([], NOW, QUICK.item_side, QUICK.events, QUICK.profile)
    protocol = Prequential(STRATEGY, side, ItemCounts(), QUICK, lambda: 0)
    return protocol.run(news(), compared, lambda *_: None)


def test_among_news_the_fitted_blend_holds_what_its_best_source_holds(of_news: Outcomes):
    assert of_news.candidate_recall("as set") < of_news.candidate_recall("trending")
    assert of_news.candidate_recall("fitted") > of_news.candidate_recall("trending") - 0.02


def test_the_fitted_blend_puts_what_comes_next_higher(of_news: Outcomes):
    def hit_rate(name: str) -> float:
        ranks = of_news.ranks(name)
        return float(((ranks > 0) & (ranks <= QUICK.k)).mean())

    assert hit_rate("fitted") > hit_rate("as set") + 0.02


def test_a_training_file_says_what_sources_weigh_unless_that_is_set_or_not_asked_for():
    past = news()
    own = (SessionSources(3, {"content": 1.0}),)
    by_session = [
        learn_with_ranker(past, [], strategy, config, lambda *_: None).by_session
        for strategy, config in (
            (STRATEGY, QUICK),
            (replace(STRATEGY, sources_by_session=own), QUICK),
            (STRATEGY, replace(QUICK, fits_sources=False)),
        )
    ]
    fitted, *others = by_session
    assert [longer.from_acts for longer in fitted] == [0, 1, 2, 5]
    assert fitted[1].sources["trending"] > 3 * STRATEGY.sources["trending"]
    assert others == [own, ()]
