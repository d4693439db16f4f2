import subprocess
import sys
from dataclasses import replace
from typing import Any, cast

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.items import ItemTable
from models.messages import Slate
from models.names import FEATURE_SET, FEATURES, RankerName, SourceName
from models.numeric.arrays import Halves
from models.numeric.halves import unpack_halves
from models.numeric.ids import hash64
from models.phrases import phrases_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.mlp import MLP, MLPConfig
from models.serving.recommender import Recommender
from models.serving.slates import recommendation_id
from models.user.query import Query
from tests import places
from tests.models.builders import (
    ALL,
    NOW,
    AnEncoder,
    AnItem,
    ASession,
    a_query,
    a_random_query,
    a_random_world,
    a_strategy,
    a_table,
    same_message,
    unit,
)
from tests.models.candidates import literal


def a_checkpoint() -> Checkpoint:
    """Score by the third feature alone, the wrong way round."""
    model = MLP(MLPConfig(n_features=len(FEATURES)))
    for parameter in model.parameters():
        parameter.data.zero_()
    model.input.weight.data[0, FEATURES.index("trending")] = 1.0
    model.middle.weight.data[0, 0] = 1.0
    model.output.weight.data[0, 0] = -1.0
    return Checkpoint(model.eval(), "backwards-1", "digest")


def items_of(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


def recommend(table: ItemTable, *queries: Query, **options: Any) -> list[Slate]:
    return Recommender(table, **options).recommend(list(queries))


def features_of(slate: Slate) -> dict[str, Halves]:
    """Read what a slate carries of each item."""
    assert slate.features is not None
    rows = unpack_halves(slate.features, len(slate.items), len(FEATURES))
    return dict(zip(items_of(slate), rows, strict=True))


TRENDS = {ALL: {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
FOUR = [AnItem(item, title=item.upper()) for item in "abcd"]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_rule_holds_on_every_slate(seed: int):
    items, trends = a_random_world(seed % 7)
    world = {item.item_id: item for item in items}
    strategy = a_strategy(
        allow_seen=seed % 2 == 0,
        allow_owned=seed % 3 == 0,
        max_impressions=1 + seed % 6,
        max_per_category=1 + seed % 3,
        exploration_slots=seed % 4,
        diversity=0.2,
        n_candidates=5 + seed % 50,
    )
    queries = [a_random_query(seed + i, strategy=strategy, n_items=1 + (seed + i) % 12) for i in range(5)]
    for query, slate in zip(queries, recommend(a_table(items, trends), *queries), strict=True):
        chosen = items_of(slate)
        assert len(set(chosen)) == len(chosen) <= (query.n_items or 0)
        assert [item.position for item in slate.items] == list(range(len(chosen)))
        assert all(literal.allowed(query, world[item]) for item in chosen)
        categories = [world[item].category for item in chosen if world[item].category]
        assert all(categories.count(category) <= strategy.max_per_category for category in categories)


def test_one_slate_a_query_in_the_order_of_the_queries():
    queries = [a_query(user_id=f"u{i}", n_items=1 + i % 3, candidates=["a", "b"] if i % 2 else None) for i in range(9)]
    slates = recommend(a_table(FOUR, TRENDS), *queries)
    assert [slate.user_id for slate in slates] == [f"u{i}" for i in range(9)]
    assert Recommender(a_table(FOUR, TRENDS)).recommend([]) == []


def test_each_query_is_served_by_its_own_strategy_not_by_the_first_ones():
    table = a_table(
        [AnItem("a", rules={"b": 1.0}), AnItem("e", covisits={"c": 1.0}), *map(AnItem, "bcd")],
        {ALL: {"d": 1.0}},
    )

    def only(source: SourceName) -> Any:
        return a_strategy(sources={source: 1.0})

    sources: list[SourceName] = ["sequential_rules", "trending", "covisitation"]
    queries = [a_query(["a", "e"], strategy=only(source)) for source in [*sources, *sources]]
    assert [items_of(slate) for slate in recommend(table, *queries)] == [["b"], ["d"], ["c"]] * 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_slate_depends_on_its_query_alone_not_on_its_company_or_on_row_numbers(seed: int):
    items, trends = a_random_world(seed % 7)
    strategies = [
        a_strategy(exploration_slots=2, diversity=0.3),
        a_strategy(ranker="mlp", n_candidates=20, exploration_slots=1),
    ]
    queries = [
        a_random_query(
            seed + i,
            strategy=strategies[i % 2],
            n_items=[None, 3, 30][i % 3],
            candidates=[f"i-{c}" for c in range(i)] if i % 4 == 3 else None,
        )
        for i in range(12)
    ]
    recommenders = [Recommender(a_table(items, trends, shuffle), a_checkpoint()) for shuffle in (None, 1)]
    together = recommenders[0].recommend(queries)
    assert same_message(together, recommenders[1].recommend(queries))
    assert same_message(together, [recommenders[0].recommend([query])[0] for query in queries])


def test_a_user_never_seen_gets_what_trends():
    [slate] = recommend(a_table(FOUR, TRENDS), a_query())
    assert items_of(slate) == ["a", "b", "c", "d"]
    assert {item.reason for item in slate.items} == {"trending now"}
    assert {item.source for item in slate.items} == {"trending"}


def test_an_item_never_seen_reaches_a_user_who_likes_its_kind():
    new = AnItem("new", attributes=("category=Drama",), created_at=NOW, popularity=(0, 0))
    query = a_query(interests={"category=Drama": (1.0, 1.0)})
    [slate] = recommend(a_table([*FOUR, new], TRENDS), query, log_features=True)
    [found] = [item for item in slate.items if item.item_id == "new"]
    assert (found.source, found.reason) == ("content", "because you like Drama")
    assert (found.reason_code, found.reason_about) == ("taste", "Drama")
    assert features_of(slate)["new"][FEATURES.index("is_new")] == 1


def test_reasons_name_the_source_and_the_item_that_really_brought_it():
    table = a_table(
        [
            AnItem("a", title="Alien", rules={"x": 1.0}),
            AnItem("b", title="Brazil", covisits={"y": 5.0}),
            AnItem("c", covisits={"y": 1.0, "z": 9.0}),
            AnItem("x"),
            AnItem("y"),
            AnItem("z"),
        ]
    )
    [slate] = recommend(table, a_query(["a", "b", "c"]))
    assert {item.item_id: (item.source, item.reason) for item in slate.items} == {
        "x": ("sequential_rules", "often next after Alien"),
        "y": ("covisitation", "because of Brazil"),
        "z": ("covisitation", "goes with what you chose"),
    }
    assert {item.item_id: (item.reason_code, item.reason_about) for item in slate.items} == {
        "x": ("often_next", "a"),
        "y": ("goes_with", "b"),
        "z": ("goes_with", "c"),
    }


def test_reasons_of_the_session_name_the_item_that_neighbours_shared_and_where_walks_began():
    items = [AnItem("a", title="Alien"), AnItem("b", title="Brazil", rules={"m": 1.0}), AnItem("m", rules={"w": 1.0})]
    # With n, b shares 0.46 in the last of these; a shares 0.20 there, and 0.24 in each of the others.
    shared = [ASession(["a", "n"], "u-1"), ASession(["a", "n"], "u-2"), ASession(["a", "n", "b"], "u-3")]
    table = a_table([*items, AnItem("n"), AnItem("w")], sessions=shared)
    strategy = a_strategy(sources={"session_knn": 1.0, "two_step_rules": 1.0, "revisits": 0.1}, allow_seen=True)
    [slate] = recommend(table, a_query(["b", "a"], current="b", strategy=strategy))
    reasons = {item.item_id: (item.source, item.reason) for item in slate.items}
    assert reasons["w"] == ("two_step_rules", "often soon after Brazil")
    assert reasons["n"] == ("session_knn", "others went on to it from Alien")


def test_an_item_that_was_looked_at_before_says_so():
    strategy = a_strategy(sources={"revisits": 1.0}, allow_seen=True)
    [slate] = recommend(a_table([AnItem("a"), AnItem("b")]), a_query(["b", "a"], current="b", strategy=strategy))
    assert [(item.item_id, item.reason) for item in slate.items] == [("a", "you know it already")]


def test_an_explored_item_says_so_and_carries_its_propensity():
    [slate] = recommend(a_table(FOUR, TRENDS), a_query(n_items=3, strategy=a_strategy(exploration_slots=1)))
    assert [item.reason for item in slate.items] == ["trending now", "trending now", "something new to try"]
    assert [item.propensity for item in slate.items[:2]] == [1.0, 1.0]
    assert 0 < slate.items[2].propensity < 1


def test_a_slate_that_was_drawn_as_a_whole_carries_what_it_was_drawn_from():
    strategy = a_strategy(sampled=1.0, sources={"trending": 1.0, "content": 0.0}, max_per_category=3)
    query = a_query(["c"], n_items=2, strategy=replace(strategy, allow_seen=True))
    [slate] = recommend(a_table(FOUR, TRENDS), query, log_features=True)
    found = slate.sampled_from
    assert slate.sampled == 1.0
    assert found is not None
    assert (found.item_ids, found.max_per_category, found.sources) == (["a", "b", "c", "d"], 3, ["trending"])
    weights = {item: float(np.exp(logit)) for item, logit in zip(found.item_ids, found.logits, strict=True)}
    left = sum(weights.values())
    for item in slate.items:
        assert item.propensity == pytest.approx(weights[item.item_id] / left, rel=1e-5)
        left -= weights[item.item_id]
    features = unpack_halves(found.features, 4, len(FEATURES))
    for item_id, logged in features_of(slate).items():
        assert np.array_equal(features[found.item_ids.index(item_id)], logged)
    assert list(found.history)[:2] == [hash64("c"), 0]


def test_searches_lists_that_were_given_and_drafts_are_not_drawn_as_a_whole():
    strategy = a_strategy(sampled=1.0)
    queries = [
        a_query(trigger="request", query="a", strategy=strategy),
        a_query(candidates=["a", "b"], strategy=strategy),
        a_query(strategy=strategy, rival=strategy),
        a_query(strategy=strategy),
    ]
    slates = recommend(a_table(FOUR, TRENDS), *queries)
    assert [slate.sampled for slate in slates] == [0, 0, 0, 1]
    assert [slate.sampled_from is None for slate in slates] == [True, True, True, False]


def test_own_candidates_are_all_ranked_and_nothing_else():
    query = a_query(["c"], candidates=["d", "b", "c", "nowhere"], trigger="request", n_items=10, current="b")
    [slate] = recommend(a_table([*FOUR, AnItem("e")], TRENDS), query)
    assert items_of(slate) == ["c", "d"]


def test_own_candidates_without_any_evidence_are_still_given_back():
    table = a_table([*FOUR, AnItem("e"), AnItem("gone", available=False)], TRENDS)
    [slate] = recommend(table, a_query(candidates=["e", "b", "gone"]))
    assert [(item.item_id, item.source, item.reason) for item in slate.items] == [
        ("b", "trending", "trending now"),
        ("e", "request", "from the list given"),
    ]


def test_a_search_puts_the_match_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "models.items.vectors.Hashed.search",
        lambda _space, text, _is_telling: np.array(unit(float(len(text)), 1.0), np.int8),
    )
    match = AnItem("lantern", vector=(7.0, 1.0), popularity=(0, 0))
    half = AnItem("lamp", vector=(1.0, 7.0))
    table = a_table([*FOUR, match, half], TRENDS)
    strategy = a_strategy(ranker="mlp")
    query = a_query(query="lantern", trigger="request", strategy=strategy)
    [slate] = Recommender(table, a_checkpoint(), log_features=True).recommend([query])
    assert items_of(slate)[0] == "lantern"
    assert (slate.items[0].source, slate.items[0].reason) == ("content", "matches your search")
    by_id = features_of(slate)
    assert by_id["lantern"][FEATURES.index("content")] == 1
    cosine = (7 * 1 + 1 * 7) / 50
    assert by_id["lamp"][FEATURES.index("content")] == pytest.approx(cosine, abs=0.01)


def test_the_ranker_of_the_strategy_orders_the_slate():
    recommender = Recommender(a_table(FOUR, TRENDS), a_checkpoint())
    by_blend, by_model = recommender.recommend([a_query(), a_query(strategy=a_strategy(ranker="mlp"))])
    assert items_of(by_blend) == ["a", "b", "c", "d"]
    assert items_of(by_model) == ["d", "c", "b", "a"]
    assert by_model.model_version == "backwards-1"


def test_a_strategy_whose_ranker_is_not_loaded_is_refused():
    recommender = Recommender(a_table(FOUR, TRENDS))
    strategy = a_strategy(ranker="mlp")
    with pytest.raises(ValueError, match="'mlp', but no checkpoint of it is loaded"):
        recommender.require(strategy)
    with pytest.raises(ValueError, match="'mlp'"):
        recommender.recommend([a_query(strategy=strategy)])
    recommender.require(a_strategy())


def test_until_an_awaited_ranker_has_come_the_blend_serves_and_says_so():
    recommender = Recommender(a_table(FOUR, TRENDS), awaited=["mlp"])
    query = a_query(strategy=a_strategy(ranker="mlp"))
    recommender.require(query.strategy)
    versions = []
    for checkpoint in (None, a_checkpoint(), None):
        recommender.swap("mlp", checkpoint)
        [slate] = recommender.recommend([query])
        versions.append((slate.model_version, items_of(slate)[0]))
    assert versions == [("blend", "a"), ("backwards-1", "d"), ("blend", "a")]


def test_a_variant_may_have_a_ranker_of_its_own_beside_that_of_the_others():
    recommender = Recommender(a_table(FOUR, TRENDS), awaited=["mlp"])
    recommender.swap("mlp.left", a_checkpoint())
    strategy = a_strategy(ranker="mlp")
    queries = [a_query(strategy=strategy, variant=variant) for variant in ("left", "right", "left", None)]
    slates = recommender.recommend(queries)
    assert [slate.model_version for slate in slates] == ["backwards-1", "blend", "backwards-1", "blend"]


def test_a_slate_names_the_sequence_model_that_proposed_for_it():
    items, trends = a_random_world(1)
    table = a_table(items, trends, encoder=AnEncoder())
    acts, sources = [f"i-{n}" for n in range(9)], ({"sequence": 1.0}, {"trending": 1.0})
    by_sequence, by_trends = Recommender(table).recommend(
        [a_query(acts, strategy=a_strategy(sources=weights)) for weights in sources]
    )
    assert by_sequence.model_version == "blend+made-up"
    assert {item.source for item in by_sequence.items} == {"sequence"}
    assert by_trends.model_version == "blend"


def test_a_slate_carries_what_its_query_and_the_table_say():
    recommender = Recommender(a_table(FOUR, TRENDS), flow="shop")
    recommender.table_version = "1234"
    query = a_query(
        user_id="u-7",
        trigger="request",
        trigger_id="r-1",
        experiment="x",
        variant="b",
        n_events=12,
        n_items=2,
    )
    [slate] = recommender.recommend([query])
    assert (slate.user_id, slate.trigger, slate.trigger_id, slate.created_at) == (
        "u-7",
        "request",
        "r-1",
        NOW,
    )
    assert (slate.experiment, slate.variant, slate.n_events) == ("x", "b", 12)
    assert (slate.model_version, slate.learned_until, slate.feature_set) == ("blend@1234", NOW, FEATURE_SET)
    assert slate.recommendation_id == recommendation_id("shop", "u-7", "request", "r-1")
    assert len(slate.items) == 2


@pytest.mark.parametrize("ranker", ["blend", "mlp"])
def test_the_logged_features_are_those_that_were_ranked(ranker: RankerName):
    recommender = Recommender(a_table(FOUR, TRENDS), a_checkpoint(), log_features=True)
    query = a_query(strategy=a_strategy(ranker=ranker, exploration_slots=0))
    ranked = recommender.rank([query])
    [slate] = recommender.recommend([query])
    logged = features_of(slate)
    for item in slate.items:
        place = [ranked.table.ids[row] for row in ranked.blended.rows[0]].index(item.item_id)
        assert np.array_equal(logged[item.item_id], np.float16(ranked.inputs.features[0, place]))
        assert item.score == pytest.approx(float(ranked.scores[0, place]), abs=1e-6)


def test_features_are_logged_where_they_are_wanted_and_learned_from():
    table = a_table(FOUR, TRENDS)
    [slate] = recommend(table, a_query())
    assert slate.features is None
    [agreed, alone] = recommend(table, a_query(), a_query(consent=False), log_features=True)
    assert agreed.features is not None
    assert alone.features is None
    [empty] = recommend(a_table([]), a_query(), log_features=True)
    assert (empty.features, empty.novelty) == (None, None)


def test_a_slate_says_how_little_known_its_items_are():
    known, new = AnItem("a", popularity=(3.0, 9.0)), AnItem("b", popularity=(0.0, 0.0))
    table = a_table([known, new], {ALL: {"a": 1.0, "b": 1.0}})
    [slate] = recommend(table, a_query(n_items=2), log_features=True)
    column = FEATURES.index("popularity_long")
    expected = np.mean([1 - float(row[column]) for row in features_of(slate).values()])
    assert slate.novelty == pytest.approx(expected, abs=1e-3)
    assert 0.5 < expected < 1


def test_a_draft_of_two_strategies_carries_the_features_and_the_novelty_of_what_is_on_it():
    popular = [AnItem(item, popularity=(float(n), 3.0**n)) for n, item in enumerate("abcd")]
    strategy, rival = a_strategy(n_items=2), a_strategy(n_items=2, sources={"content": 1.0, "trending": 0.1})
    query = a_query(strategy=strategy, rival=rival)
    [slate] = recommend(a_table(popular, TRENDS), query, log_features=True)
    column = FEATURES.index("popularity_long")
    logged = features_of(slate)
    for item_id, row in logged.items():
        [alone] = recommend(a_table(popular, TRENDS), a_query(candidates=[item_id]), log_features=True)
        assert row[column] == features_of(alone)[item_id][column]
    expected = np.mean([1 - float(row[column]) for row in logged.values()])
    assert slate.novelty == pytest.approx(expected, abs=1e-3)


def test_reasons_are_said_in_the_language_of_the_installation():
    [slate] = recommend(a_table(FOUR, TRENDS), a_query(), phrases=phrases_of("de"))
    assert {(item.reason_code, item.reason) for item in slate.items} == {("trending", "gerade gefragt")}


def test_a_slate_travels_as_json_and_comes_back():
    items, trends = a_random_world(1)
    slates = recommend(a_table(items, trends), *(a_random_query(seed) for seed in range(10)))
    for slate in slates:
        read = msgspec.json.decode(orjson.dumps(slate, option=orjson.OPT_SERIALIZE_NUMPY), type=dict)
        assert read["recommendation_id"] == slate.recommendation_id
        assert [item["item_id"] for item in read["items"]] == items_of(slate)
        assert [item["reason_code"] for item in read["items"]] == [item.reason_code for item in slate.items]


def test_warming_up_serves_nobody_and_changes_nothing():
    table = a_table(FOUR, TRENDS)
    recommender = Recommender(table, a_checkpoint())
    before = recommender.recommend([a_query()])
    recommender.warm_up()
    assert same_message(recommender.recommend([a_query()]), before)
    Recommender(cast("ItemTable", a_table([]))).warm_up()


COMPILED_LATE = """
import gc
from numba.core.dispatcher import Dispatcher
from models.serving.recommender import Recommender
from tests.models.builders import a_random_query, a_random_world, a_table

def compiled():
    return {d.py_func.__qualname__: len(d.signatures) for d in gc.get_objects() if isinstance(d, Dispatcher)}

Recommender(a_table([])).warm_up()
before = compiled()
recommender = Recommender(a_table(*a_random_world(1)))
for others in ({}, {"query": "words"}, {"candidates": [f"i-{i}" for i in range(40)]}):
    recommender.recommend([a_random_query(seed, **others) for seed in range(20)])
    recommender.recommend([a_random_query(1, **others)])
recommender.recommend([a_random_query(1, candidates=["i-5"])])
print([name for name, n in compiled().items() if n != before.get(name)])
"""


def test_after_warming_up_on_an_empty_table_no_slate_compiles_anything():
    code = "import sys, tests; tests.__path__ = [sys.argv[1]]\n" + COMPILED_LATE
    folder = str(places.ROOT / "tests")
    result = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_same_cause_has_the_same_id_and_different_causes_differ():
    ids = {
        recommendation_id(*cause)
        for cause in [
            ("f", "u", "event", "e"),
            ("g", "u", "event", "e"),
            ("f", "v", "event", "e"),
            ("f", "u", "request", "e"),
            ("f", "u", "event", "f"),
            ("f", "u1", "event", "e"),
            ("f1", "u", "event", "e"),
            ("f", "ue", "vent", "e"),
        ]
    }
    assert len(ids) == 8
    assert recommendation_id("f", "u", "event", "e") == recommendation_id("f", "u", "event", "e")
    assert all(len(name) == 32 and int(name, 16) >= 0 for name in ids)


def test_ids_do_not_change_between_releases():
    assert recommendation_id("recommend", "u-7", "event", "e-1") == "f3277e8ad8df78672feb1c86c1629c98"
