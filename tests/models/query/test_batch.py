import math
from itertools import pairwise

import numpy as np
import pytest

from models.candidates.selection import usable
from models.names import SIGNALS
from models.numeric.ids import hash32
from models.query.batch import landmark_scale
from tests.models.builders import (
    DAY_MS,
    NOW,
    AnItem,
    a_batch,
    a_query,
    a_strategy,
    a_table,
    rows_by_id,
)

ABC = [AnItem("a"), AnItem("b"), AnItem("c", attributes=("tag=t",))]


def test_the_history_keeps_its_order_its_repeats_and_the_place_of_unknown_items():
    table = a_table(ABC)
    batch = a_batch(table, a_query(["b", "nowhere", "a", "b"]), a_query([]))
    a, b = table.ids.index("a"), table.ids.index("b")
    assert batch.history.rows[0, :5].tolist() == [b, -1, a, b, -1]
    assert (batch.history.rows[1] == -1).all()


def test_the_current_item_leads_the_history_unless_it_already_does():
    table = a_table(ABC)
    batch = a_batch(
        table,
        a_query(["b"], current="a"),
        a_query(["b"], current="b"),
        a_query([], current="a"),
        a_query(["b"]),
    )
    names = [[table.ids[row] for row in rows if row >= 0] for rows in batch.history.rows]
    assert names == [["a", "b"], ["b"], ["a"], ["b"]]
    assert batch.history.n_session.tolist() == [2, 1, 1, 1]


def test_a_full_history_makes_room_for_the_current_item():
    table = a_table(ABC)
    batch = a_batch(table, a_query(["b"] * 32, current="a"))
    assert rows_by_id(table, batch.history.rows[0]) == ["a"] + ["b"] * 31


@pytest.mark.parametrize(
    ("rules", "marked"),
    [
        ({}, {"a", "b", "c"}),
        ({"allow_seen": True}, {"a", "c"}),
        ({"allow_seen": True, "allow_current": True}, {"c"}),
        ({"allow_current": True}, {"a", "b", "c"}),
        ({"allow_owned": True}, {"a", "b"}),
        ({"max_impressions": 2}, {"a", "b", "c", "tired"}),
    ],
)
def test_the_rules_mark_what_may_not_be_shown(rules: dict[str, int], marked: set[str]):
    table = a_table([*ABC, AnItem("tired")])
    query = a_query(["b"], current="a", owned=("c",), impressions={"tired": 2.0}, strategy=a_strategy(**rules))
    assert set(rows_by_id(table, a_batch(table, query).marks.rows)) == marked


@pytest.mark.parametrize(("shown", "rests"), [(1.99, True), (1.5, True), (1.49, False)])
def test_an_item_shown_too_often_rests_until_half_an_impression_has_decayed(shown: float, rests: bool):
    query = a_query(impressions={"a": shown}, strategy=a_strategy(max_impressions=2))
    assert (rows_by_id(a_table(ABC), a_batch(a_table(ABC), query).marks.rows) == ["a"]) is rests


def test_own_candidates_are_what_is_marked_but_for_unknown_ones_and_the_current_item():
    table = a_table(ABC)
    query = a_query(["b"], current="a", owned=("c",), candidates=["a", "b", "c", "nowhere"])
    batch = a_batch(table, query)
    assert batch.own
    assert rows_by_id(table, batch.marks.rows) == ["b", "c"]


def test_marks_and_impressions_stay_with_their_query():
    table = a_table(ABC)
    batch = a_batch(table, a_query(["a"]), a_query([], impressions={"c": 9.0, "b": 1.0}), a_query([], owned=("b",)))
    starts = batch.marks.starts
    assert [rows_by_id(table, batch.marks.rows[i:j]) for i, j in pairwise(starts)] == [
        ["a"],
        ["c"],
        ["b"],
    ]
    assert batch.impressions.starts.tolist() == [0, 0, 2, 2]
    assert dict(zip(rows_by_id(table, batch.impressions.rows), batch.impressions.weights, strict=True)) == {
        "c": 9.0,
        "b": 1.0,
    }


def test_a_user_without_interests_is_taken_to_like_what_they_look_at():
    batch = a_batch(a_table(ABC), a_query(current="c"), a_query(["c"], interests={"tag=u": (1.0, 2.0)}))
    assert batch.interests.attributes.tolist() == [hash32("tag=t"), hash32("tag=u")]
    assert batch.interests.weights.tolist() == [[1, 1], [1, 2]]


def test_an_item_may_be_shown_when_it_is_available_and_named():
    table = a_table([AnItem("a"), AnItem("gone", available=False), AnItem("nameless", named=False)])
    assert usable(table).tolist() == [1, 0, 0]


@pytest.mark.parametrize(("device", "is_mobile"), [("Mobile", 1), ("desktop", 0), (7, 0), (None, 0)])
def test_a_mobile_device_is_known_by_its_name(device: str | int | None, is_mobile: int):
    signals = a_batch(a_table(ABC), a_query(["a"], context={"device": device})).signals[0]
    assert signals[SIGNALS.index("is_mobile")] == is_mobile


def test_the_signals_say_what_is_true_of_the_moment():
    query = a_query(
        ["a", "b"],
        trigger="request",
        query="lanterns",
        context={"hour": 6, "device": "phone"},
        n_events=99,
        n_last_5_min=1,
        n_last_hour=3,
        drift=0.25,
        recent_at=[NOW - 120_000, NOW - 500_000],
    )
    signals = dict(zip(SIGNALS, a_batch(a_table(ABC), query).signals[0].tolist(), strict=True))
    assert signals == pytest.approx(
        {
            "session_length": math.log(3) / 10,
            "n_events": math.log(100) / 10,
            "drift": 0.25,
            "n_last_5_min": math.log(2) / 10,
            "n_last_hour": math.log(4) / 10,
            "idle": math.log(3) / 10,
            "pause": math.log(1 + 380 / 60) / 10,
            "hour_sin": 1.0,
            "hour_cos": 0.0,
            "is_mobile": 1.0,
            "is_request": 1.0,
            "is_search": 1.0,
        },
        abs=1e-6,
    )


def test_a_weight_doubles_in_landmark_units_with_each_half_life_that_passes():
    at = np.array([NOW, NOW + DAY_MS, NOW - 2 * DAY_MS], np.int64)
    assert landmark_scale(at, NOW, DAY_MS).tolist() == [1.0, 2.0, 0.25]


def test_a_clock_far_from_the_landmark_gives_finite_scales():
    scales = landmark_scale(np.array([0, 2**53 - 1], np.int64), NOW, 1)
    assert np.isfinite(scales.astype(np.float32)).all()
    assert (scales.astype(np.float32) > 0).all()
