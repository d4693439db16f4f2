import numpy as np
import pytest

from models.offline.backtest.baselines.popularity import Popularity
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.item_counts import ItemCounts
from models.offline.backtest.pipeline import Pipeline, as_asked
from tests.models.builders import AnItem, a_query, a_strategy, a_table

EVEN = [AnItem("from", rules={"a": 1.0, "b": 1.0, "c": 1.0, "d": 4.0}), *map(AnItem, "abcd")]
RULES = a_strategy(sources={"sequential_rules": 1.0}, n_items=3)


def test_candidates_that_tie_with_the_right_one_count_as_before_it():
    pipeline = Pipeline("rules", RULES)
    queries = [a_query(["from"])] * 5
    predictions = pipeline.predict(queries, a_table(EVEN), ["d", "a", "b", "c", "nowhere"])
    # d, then two of three equals fit on the slate; whichever is right, the other two are counted first
    assert sorted(predictions.ranks.tolist()[1:]) == [0, 0, 4, 4]
    assert predictions.ranks[0] == 1
    # all four are candidates, whether or not they found room on the slate
    assert predictions.is_candidate.tolist() == [True] * 4 + [False]


def test_the_most_popular_are_the_same_for_all_but_for_what_the_rules_forbid():
    counts = ItemCounts()
    counts.add("aabbcd")
    popularity = Popularity("popularity", a_strategy(n_items=2), counts)
    table = a_table([AnItem("gone", available=False), *map(AnItem, "abcd")])
    predictions = popularity.predict([a_query(), a_query(["a"])], table, ["b", "c"])
    assert predictions.ranks.tolist() == [2, 3]
    assert [{table.ids[row] for row in rows} for rows in predictions.rows] == [{"a", "b"}, {"b", "c"}] or (
        {table.ids[row] for row in predictions.rows[1]} == {"b", "d"}
    )


def test_counts_follow_the_table_as_it_grows_and_when_it_is_another():
    counts = ItemCounts()
    counts.add(["b", "b"])
    assert counts.by_row(a_table([AnItem("a"), AnItem("b")])).tolist() == [0, 2]
    table = a_table([AnItem("b"), AnItem("a")])
    assert counts.by_row(table).tolist() == [2, 0]
    counts.add(["a", "unknown"])
    assert counts.by_row(table).tolist() == [2, 1]


def test_novelty_is_the_information_of_an_average_recommended_item():
    counts = ItemCounts()
    counts.add("a" * 6)
    table = a_table([AnItem("a"), AnItem("b")])
    # with one act more for each, a has 7 of 8 and b 1 of 8
    novelty = counts.novelty_of(np.array([[0, 1], [1, -1], [-1, -1]], np.int32), table)
    assert novelty == pytest.approx([(-np.log2(7 / 8) + 3) / 2, 3, 0])


@pytest.mark.parametrize(("k", "cap"), [(10, 5), (20, 10), (5, 3), (1, 1)])
def test_categories_may_have_the_same_share_of_a_slate_of_another_length(k: int, cap: int):
    strategy = a_strategy(n_items=10, max_per_category=5)
    assert as_asked(strategy, BacktestConfig(k=k)).max_per_category == cap
