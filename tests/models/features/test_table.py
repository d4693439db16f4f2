import math
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates.blend import Blended
from models.candidates.scratch import scratch
from models.features.table import featurise
from models.items import ItemTable
from models.names import FEATURE_SET, FEATURES, SIGNALS, SOURCES
from models.serving.recommender import Recommender
from models.user.query import Query
from tests.models.builders import (
    DAY_MS,
    NOW,
    AnItem,
    a_batch,
    a_query,
    a_random_query,
    a_random_world,
    a_strategy,
    a_table,
)

NOTHING = [0.0] * len(SOURCES)


def features_of(table: ItemTable, item: str, query: Query, **blended: Any) -> dict[str, float]:
    """Featurise one candidate, and a padded place behind it."""
    candidates = Blended(
        rows=np.array([[table.ids.index(item), -1]], np.int32),
        scores=np.array([[blended.get("score", 0), 0]], np.float32),
        source_scores=np.array([[blended.get("shares", NOTHING), NOTHING]], np.float32),
        source_ranks=np.array([[blended.get("ranks", NOTHING), NOTHING]], np.float32),
        top_source=np.array([[-1, -1]], np.int8),
    )
    features = featurise(a_batch(table, query), table, candidates)
    assert features.shape == (1, 2, len(FEATURES))
    assert (features[0, 1] == 0).all()
    return dict(zip(FEATURES, features[0, 0].tolist(), strict=True))


def test_every_feature_has_its_own_name():
    assert len(set(FEATURES)) == len(FEATURES)


def test_another_list_of_features_has_another_name():
    """Slates and state name only the set: who changes the list gives FEATURE_SET another name, and keeps the old list.

    A source adds two features. In its new place, the name and the digest are written here.
    """
    assert (FEATURE_SET, xxhash.xxh3_64_hexdigest(" ".join(FEATURES).encode())) == ("v4", "768835e0355ea019")


def test_what_the_sources_said_is_kept():
    shares = [0.1 + 0.05 * s for s in range(len(SOURCES))]
    ranks = [1 / (1 + s) for s in range(len(SOURCES))]
    features = features_of(
        a_table([AnItem("a")]),
        "a",
        a_query(),
        score=0.5,
        shares=shares,
        ranks=ranks,
    )
    assert [features[name] for name in SOURCES] == pytest.approx(shares)
    assert [features[f"{name}_rank"] for name in SOURCES] == pytest.approx(ranks)
    assert features["blend"] == 0.5


def test_a_candidate_is_compared_with_the_last_two_items_of_the_session():
    items = [
        AnItem("a", rules={"b": 3.0, "c": 1.0}, covisits={"b": 4.0, "c": 1.0}, popularity=(1.0, 11.0)),
        AnItem("c"),
    ]
    table = a_table([*items, AnItem("b", popularity=(1.0, 31.0))])
    last = features_of(table, "b", a_query(["a"]))
    assert last["rule_from_last"] == pytest.approx(3 / 4)
    assert last["covisit_with_last"] == pytest.approx(4 / math.sqrt((11 + 5) * (31 + 5)))
    assert last["rule_from_second"] == last["covisit_with_second"] == 0
    second = features_of(table, "b", a_query(["c", "a"]))
    assert (second["rule_from_last"], second["rule_from_second"]) == pytest.approx((0, 3 / 4))
    over = features_of(table, "b", a_query(["c", "a"], n_in_session=1))
    assert over["rule_from_second"] == 0


def test_a_candidate_that_was_met_in_the_session_says_when_and_how_often():
    table = a_table([AnItem("a"), AnItem("b"), AnItem("c")])
    query = a_query(["b", "a", "a", "c"], n_in_session=3, current="b")
    a, b, c = (features_of(table, item, query) for item in "abc")
    names = ("back", "n_in_session", "is_current", "n_distinct")
    twice, once, never = (math.log(1 + n) / 10 for n in (2, 1, 0))
    assert [a[name] for name in names] == pytest.approx([1 / 2, twice, 0, twice])
    assert [b[name] for name in names] == pytest.approx([1, once, 1, twice])
    assert [c[name] for name in names] == pytest.approx([0, never, 0, twice])


def test_popularity_has_decayed_to_the_querys_own_moment():
    # half-lives of a day and of 30: in a day 8 become 4 and 7 become 7 / 2^(1/30)
    table = a_table([AnItem("a", popularity=(8.0, 7.0))])
    now = features_of(table, "a", a_query())
    later = features_of(table, "a", a_query(at=NOW + DAY_MS))
    assert now["popularity_short"] == pytest.approx(math.log(9) / 10)
    assert later["popularity_short"] == pytest.approx(math.log(5) / 10)
    assert later["popularity_long"] == pytest.approx(math.log(1 + 7 * 2 ** (-1 / 30)) / 10)


def test_an_item_whose_rate_is_higher_at_the_short_half_life_trends_up():
    # rates a long half-life: 30 * 2 at the short half-life, 60 at the long one
    def trend(short: float, long: float) -> float:
        return features_of(a_table([AnItem("a", popularity=(short, long))]), "a", a_query())["popularity_trend"]

    assert trend(2.0, 60.0) == pytest.approx(0)
    assert trend(2.0, 0.0) == pytest.approx(60 / 61)
    assert trend(0.0, 60.0) == pytest.approx(-60 / 61)


def test_an_item_that_only_the_catalog_knows_is_new_and_has_an_age():
    table = a_table([AnItem("a", popularity=(0, 0), created_at=NOW - 6 * DAY_MS), AnItem("b", created_at=0)])
    new, undated = (features_of(table, item, a_query()) for item in "ab")
    assert (new["is_new"], undated["is_new"]) == (1, 0)
    assert (new["age"], undated["age"]) == pytest.approx((math.log(7) / 10, 0))


def test_interests_count_as_shares_of_the_users_whole_interest():
    table = a_table([AnItem("a", attributes=("tag=x", "tag=y", "tag=other"))])
    query = a_query(
        interests={"tag=x": (1.0, 3.0), "tag=y": (-0.5, 1.0), "tag=z": (2.5, 4.0)},
        preferences={"tag=y": 0.5, "tag=other": 1.0, "tag=z": 9.0},
    )
    features = features_of(table, "a", query)
    assert features["interest_short"] == pytest.approx(0.5 / 4)
    assert features["interest_long"] == pytest.approx(4 / 8)
    assert features["preference"] == pytest.approx(1.5 / 2.5)


def test_similarity_is_the_cosine_with_what_the_user_did_lately_and_did_not_dislike():
    table = a_table([AnItem("a", vector=(1, 0)), AnItem("b", vector=(0, 1)), AnItem("c", vector=(1, 0)), AnItem("d")])
    assert features_of(table, "c", a_query(["a"]))["similarity"] == pytest.approx(1)
    assert features_of(table, "c", a_query(["a", "b"]))["similarity"] == pytest.approx(math.sqrt(0.5))
    assert features_of(table, "c", a_query(["a", "b"], weights=[-1.0, 1.0]))["similarity"] == 0
    assert features_of(table, "c", a_query(["d"]))["similarity"] == 0
    assert features_of(table, "c", a_query())["similarity"] == 0


def test_the_price_is_measured_by_what_the_user_pays():
    table = a_table([AnItem("a", price=40.0), AnItem("free", price=0.0), AnItem("unpriced")])
    assert features_of(table, "a", a_query(mean_price=10.0))["price_ratio"] == pytest.approx(0.5)
    assert features_of(table, "a", a_query(mean_price=1e6))["price_ratio"] == -1
    assert features_of(table, "a", a_query())["price_ratio"] == 0
    assert features_of(table, "free", a_query(mean_price=10.0))["price_ratio"] == 0
    assert features_of(table, "unpriced", a_query(mean_price=10.0))["price_ratio"] == 0


def test_what_was_seen_and_shown_is_counted():
    table = a_table([AnItem("a"), AnItem("b")])
    query = a_query(["a", "b", "a"], impressions={"a": 2.0})
    seen, other = features_of(table, "a", query), features_of(table, "b", query)
    assert seen["n_seen"] == pytest.approx(math.log(3) / 10)
    assert seen["n_impressions"] == pytest.approx(math.log(3) / 10)
    assert other["n_seen"] == pytest.approx(math.log(2) / 10)
    assert other["n_impressions"] == 0


def test_the_context_enters_the_features():
    table = a_table([AnItem("a")])
    at_desk = features_of(table, "a", a_query(context={"device": "desktop", "hour": 9}))
    on_phone = features_of(table, "a", a_query(context={"device": "mobile", "hour": 20}, trigger="request"))
    assert {name for name in FEATURES if at_desk[name] != on_phone[name]} == {
        "hour_sin",
        "hour_cos",
        "is_mobile",
        "is_request",
    }
    assert FEATURES[-len(SIGNALS) :] == SIGNALS


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    at=st.one_of(st.integers(0, 2**53 - 1), st.just(NOW)),
    huge=st.floats(0, 1e18),
    n_events=st.integers(0, 2**53),
)
def test_features_are_finite_and_bounded_whatever_comes_in(seed: int, at: int, huge: float, n_events: int):
    items, trends = a_random_world(seed % 7)
    table = a_table(items, trends)
    table.popularity[::3] *= np.float32(huge)
    query = a_random_query(
        seed,
        at=at,
        n_events=n_events,
        mean_price=huge,
        interests={"category=c1": (huge, -huge), "category=c2": (1.0, huge)},
        preferences={"category=c1": -huge},
        strategy=a_strategy(allow_seen=True, max_impressions=9),
    )
    features = Recommender(table).rank([query]).inputs.features
    assert np.isfinite(features).all()
    assert np.abs(features).max(initial=0) <= 4
    assert not scratch(table.n).sums.any()
    assert not scratch(table.n).slots.any()
