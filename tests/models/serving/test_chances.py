"""Chances on slates, and the order by what an item is worth."""

from dataclasses import replace

import numpy as np
import orjson
import pytest

from models.items import ItemTable
from models.messages import LikelyItem, Slate
from models.names import FEATURES, FUNNEL, StageName
from models.numeric.arrays import Floats
from models.numeric.halves import unpack_halves
from models.rankers.checkpoint import Checkpoint
from models.rankers.networks import new_network
from models.rankers.served import FunnelRanker, served
from models.serving.recommender import Recommender
from models.strategy import Strategy, Worth
from tests.models.builders import ALL, NOW, AnItem, a_query, a_strategy, a_table

TRENDS = {ALL: {item: 4.0 - number for number, item in enumerate("abcd")}}
PRICES = {"a": 1.0, "b": 10.0, "c": 100.0}
"""The price of d is unknown."""


def a_funnel(seed: int = 0) -> Checkpoint:
    return Checkpoint(new_network(FUNNEL, len(FEATURES), seed).eval(), f"funnel-{seed}", "digest")


def a_shop(margins: dict[str, float] | None = None) -> ItemTable:
    nothing = float("nan")
    items = [AnItem(one, price=PRICES.get(one, nothing), margin=(margins or {}).get(one, nothing)) for one in "abcd"]
    return a_table(items, TRENDS)


def a_slate(worth: dict[StageName, Worth] | None = None, table: ItemTable | None = None, **query: object) -> Slate:
    ranking = {"ranker": FUNNEL, "worth": worth} if worth else {}
    strategy = replace(a_strategy(diversity=0.0, exploration_slots=0, n_items=4), **ranking)
    recommender = Recommender(table or a_shop(), a_funnel(), log_features=True)
    [slate] = recommender.recommend([a_query(strategy=strategy, **query)])
    return slate


def logged(slate: Slate) -> Floats:
    """Read the (L, F) features that a slate carries."""
    assert slate.features is not None
    return unpack_halves(slate.features, len(slate.items), len(FEATURES)).astype(np.float32)


def test_each_item_says_how_probable_its_stages_are_whoever_orders_them():
    slate = a_slate()
    ranker = served(a_funnel().model)
    assert isinstance(ranker, FunnelRanker)
    assert len(slate.items) == 4
    for item, features in zip(slate.items, logged(slate), strict=True):
        assert isinstance(item, LikelyItem)
        chances = ranker.chances(features[None, None], np.array([[item.position]]))[0, 0].tolist()
        assert [item.p_click, item.p_cart, item.p_purchase] == pytest.approx(chances, rel=5e-3)
        assert item.p_purchase < item.p_click
    written = orjson.loads(orjson.dumps(slate, option=orjson.OPT_SERIALIZE_NUMPY))
    assert {"p_click", "p_cart", "p_purchase", "item_id", "reason"} <= written["items"][0].keys()


def test_without_a_funnel_items_say_nothing():
    [slate] = Recommender(a_shop()).recommend([a_query(strategy=a_strategy())])
    assert not any(isinstance(item, LikelyItem) for item in slate.items)


def test_a_slate_without_items_goes_out_as_it_is():
    [slate] = Recommender(a_table([]), a_funnel()).recommend([a_query(strategy=a_strategy())])
    assert slate.items == []


def ids(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def test_worth_by_price_puts_the_dearest_first_where_chances_are_alike():
    """An untrained funnel gives all items nearly the same chances, prices differ by powers of ten."""
    assert ids(a_slate({"purchase": Worth(per="price")})) in (["c", "d", "b", "a"], ["c", "b", "d", "a"])
    assert ids(a_slate({"purchase": Worth(per="price")}))[0] == "c"


def test_an_unknown_price_counts_as_the_others_do_on_average():
    slate = a_slate({"purchase": Worth(per="price")})
    d = next(item for item in slate.items if item.item_id == "d")
    assert isinstance(d, LikelyItem)
    mean = sum(PRICES.values()) / len(PRICES)
    assert d.score == pytest.approx(mean * chance_at_top(logged(slate)[d.position]), rel=5e-3)


def chance_at_top(features: Floats) -> float:
    ranker = served(a_funnel().model)
    assert isinstance(ranker, FunnelRanker)
    return float(ranker.chances(features[None, None], np.array([[0]]))[0, 0, 2])


def test_worth_by_margin_looks_at_margins_and_adds_stages_up():
    margins = {"a": 9.0, "b": 3.0, "c": 1.0, "d": 2.0}
    slate = a_slate({"purchase": Worth(per="margin"), "click": Worth(weight=0.0)}, a_shop(margins))
    assert ids(slate) == ["a", "b", "d", "c"]
    scores = {item.item_id: item.score for item in slate.items}
    doubled = a_slate({"purchase": Worth(weight=2.0, per="margin")}, a_shop(margins))
    assert {item.item_id: pytest.approx(item.score / 2, rel=1e-4) for item in doubled.items} == scores


def test_where_no_margin_is_known_each_counts_the_same():
    by_margin, by_act = (ids(a_slate({"purchase": Worth(per=per)})) for per in ("margin", "act"))
    assert by_margin == by_act


def test_a_strategy_in_which_nothing_is_worth_anything_is_refused():
    with pytest.raises(ValueError, match="worth"):
        Strategy(worth={"click": Worth(weight=0.0)})


def test_an_awaited_funnel_is_replaced_by_the_blend_until_it_comes():
    strategy = a_strategy(ranker=FUNNEL)
    recommender = Recommender(a_shop(), awaited=[FUNNEL])
    [before] = recommender.recommend([a_query(strategy=strategy, at=NOW)])
    assert before.model_version.startswith("blend")
    recommender.swap(FUNNEL, a_funnel())
    [after] = recommender.recommend([a_query(strategy=strategy, at=NOW)])
    assert after.model_version.startswith("funnel-0")
    recommender.swap(FUNNEL, None)
    [again] = recommender.recommend([a_query(strategy=strategy, at=NOW)])
    assert again.model_version.startswith("blend")
