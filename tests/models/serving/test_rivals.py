from typing import Any

import numpy as np

from models.messages import Slate, SlateItem
from models.serving.rivals import merge_rivals, with_rivals
from models.serving.slates import Draft
from models.strategy import Strategy
from models.user.query import Query

FIRST, SECOND = Strategy(), Strategy(diversity=0.9)


def a_query(user: str, rival: Strategy | None = None) -> Query:
    return Query(user, "event", f"e-{user}", 5, FIRST, rival=rival)


def a_slate(user: str, items: str, **fields: Any) -> Draft:
    rows = [SlateItem(item, n, 1.0 - n / 10, "trending", "", "trending", None, 0.5) for n, item in enumerate(items)]
    values = {
        "recommendation_id": "5f" * 16, "user_id": user, "created_at": 5, "trigger": "event", "trigger_id": "e",
        "experiment": "x", "variant": "interleaved", "model_version": "m", "learned_until": 0, "n_events": 1,
        "feature_set": "v1", "items": rows, "novelty": None,
    }  # fmt: skip
    numbers = np.arange(len(items), dtype=np.float32)
    return Draft(Slate(**values | fields), numbers / 10, numbers[:, None])


def test_a_query_with_a_rival_is_asked_twice_by_both_strategies():
    asked = with_rivals([a_query("a"), a_query("b", SECOND), a_query("c")])
    assert [(query.user_id, query.strategy) for query in asked] == [
        ("a", FIRST),
        ("b", FIRST),
        ("b", SECOND),
        ("c", FIRST),
    ]


def test_the_slates_of_rivals_become_one_and_the_others_stay_as_they_are():
    queries = [a_query("a"), a_query("b", SECOND), a_query("c")]
    alone, last = a_slate("a", "xyz"), a_slate("c", "zyx")
    made = merge_rivals(queries, [alone, a_slate("b", "pqr"), a_slate("b", "stu"), last])
    assert made[0] is alone
    assert made[2] is last
    merged, novelty, features = made[1]
    assert merged.teams is not None
    assert features is not None
    assert [item.position for item in merged.items] == [0, 1, 2]
    for n, (item, team) in enumerate(zip(merged.items, merged.teams, strict=True)):
        place = ("pqr", "stu")[team].index(item.item_id)
        assert (features[n].tolist(), novelty[n]) == ([place], np.float32(place / 10))
    assert set(merged.teams[:2]) == {0, 1}


def test_a_merged_slate_names_the_versions_of_both_rankings():
    [merged] = merge_rivals(
        [a_query("b", SECOND)],
        [a_slate("b", "pqr", model_version="mlp-1@5"), a_slate("b", "stu", model_version="blend@5")],
    )
    assert (merged.slate.model_version, merged.slate.rival_version) == ("mlp-1@5", "blend@5")


def test_the_same_slates_merge_the_same_way():
    queries = [a_query("b", SECOND)]
    first, second = (merge_rivals(queries, [a_slate("b", "pqr"), a_slate("b", "stu")]) for _ in range(2))
    assert [draft.slate for draft in first] == [draft.slate for draft in second]
