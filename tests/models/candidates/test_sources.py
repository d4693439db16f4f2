"""One contract for every candidate source, and each against the literal reading of its formula."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.candidates.blend import EVERY_SOURCE
from models.candidates.content import Content
from models.candidates.covisitation import Covisitation
from models.candidates.habits import Habits
from models.candidates.next_in_sequence import NextInSequence
from models.candidates.protocol import CandidateSource
from models.candidates.revisits import Revisits
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, usable
from models.candidates.sequential_rules import SequentialRules
from models.candidates.session_knn import SessionKNN, fading_ms
from models.candidates.trending import Trending
from models.candidates.two_step_rules import TwoStepRules
from models.items import ItemTable, learned
from models.numeric.ids import hash64
from models.user.query import Query
from tests.models.builders import (
    DAY_MS,
    AnEncoder,
    AnItem,
    a_batch,
    a_query,
    a_random_query,
    a_random_world,
    a_strategy,
    a_table,
    candidates_of,
    causes_of,
    no_candidates,
    rows_by_id,
    some_random_sessions,
)
from tests.models.candidates import literal

FORMULAE: list[tuple[CandidateSource, Callable[..., dict[str, float]]]] = [
    (SequentialRules(), literal.sequential_rules),
    (Covisitation(), literal.covisitation),
    (Trending(), literal.trending),
    (Content(), literal.content),
    (TwoStepRules(), literal.two_step_rules),
    (Revisits(), literal.revisits),
    (Habits(), literal.habits),
]
WITH_EVERY_SOURCE = pytest.mark.parametrize("source", EVERY_SOURCE, ids=lambda s: s.name)


def a_random_table(seed: int, shuffle: int | None = None) -> ItemTable:
    items, trends = a_random_world(seed % 7)
    return a_table(items, trends, shuffle, some_random_sessions(seed % 7), AnEncoder())


def proposals(source: CandidateSource, table: ItemTable, *queries: Query, n: int = 100) -> list[dict[str, float]]:
    found = candidates_of(source, table, a_batch(table, *queries), n)
    return [
        {table.ids[row]: float(score) for row, score in zip(rows, scores, strict=True) if row >= 0}
        for rows, scores in zip(found.rows, found.scores, strict=True)
    ]


@pytest.mark.parametrize(("source", "formula"), FORMULAE, ids=[source.name for source, _ in FORMULAE])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), own=st.booleans())
def test_the_kernel_scores_as_the_formula_reads(source: CandidateSource, formula: Any, seed: int, own: bool):
    items, trends = a_random_world(seed % 7)
    world = {item.item_id: item for item in items}
    table = a_table(items, trends)
    own_items = [f"i-{i}" for i in range(0, 60, 1 + seed % 4)] + ["nowhere"]
    strategy = a_strategy(
        allow_seen=seed % 2 == 0, allow_current=seed % 4 == 0, allow_owned=seed % 3 == 0, max_impressions=1 + seed % 6
    )
    candidates = own_items if own else None
    queries = [a_random_query(seed + i, candidates=candidates, strategy=strategy) for i in range(3)]

    for query, found in zip(queries, proposals(source, table, *queries), strict=True):
        expected = formula(query, world, trends)
        expected = {i: s for i, s in expected.items() if s > 0 and literal.allowed(query, world[i])}
        assert found == pytest.approx(expected, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), own=st.booleans())
def test_the_session_knn_kernel_scores_as_the_formula_reads(seed: int, own: bool):
    items, trends = a_random_world(seed % 7)
    world = {item.item_id: item for item in items}
    sessions = some_random_sessions(seed)
    table = a_table(items, trends, sessions=sessions)
    candidates = [f"i-{i}" for i in range(0, 60, 2)] if own else None
    strategy = a_strategy(allow_seen=seed % 2 == 0, allow_current=seed % 4 == 0)
    queries = [a_random_query(seed + i, candidates=candidates, strategy=strategy) for i in range(3)]
    for query, found in zip(queries, proposals(SessionKNN(), table, *queries), strict=True):
        expected = literal.session_knn(query, world, sessions)
        expected = {i: s for i, s in expected.items() if s > 0 and literal.allowed(query, world[i])}
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("half_life_days", "days"), [(365, 182.5), (30, 15), (14, 7), (1, 7)])
def test_sessions_fade_half_as_fast_as_popularity_but_no_faster_than_in_weeks(half_life_days: float, days: float):
    table = a_table([AnItem("a"), AnItem("b")], sessions=[])
    table.half_life_long_ms = round(half_life_days * DAY_MS)
    assert fading_ms(table) == days * DAY_MS


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), own=st.booleans())
def test_the_items_next_in_sequence_are_those_of_the_largest_products(seed: int, own: bool):
    items, trends = a_random_world(seed % 7)
    world = {item.item_id: item for item in items}
    encoder = AnEncoder()
    table = a_table(items, trends, encoder=encoder)
    candidates = [f"i-{i}" for i in range(0, 60, 2)] if own else None
    strategy = a_strategy(allow_seen=seed % 2 == 0, allow_current=seed % 4 == 0)
    queries = [a_random_query(seed + i, candidates=candidates, strategy=strategy) for i in range(3)]
    for query, found in zip(queries, proposals(NextInSequence(), table, *queries), strict=True):
        assert found == pytest.approx(literal.sequence(query, world, trends, encoder), rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_an_inverted_file_leads_to_what_all_products_say(seed: int, monkeypatch: pytest.MonkeyPatch):
    items, trends = a_random_world(seed)
    queries = [a_random_query(seed + k) for k in range(12)]
    exact = proposals(NextInSequence(), a_table(items, trends, encoder=AnEncoder()), *queries)
    monkeypatch.setattr(learned, "LEAST_INVERTED", 1)
    table = a_table(items, trends, encoder=AnEncoder())
    assert table.learned is not None
    assert table.learned.of(table) is not None
    assert table.learned.inverted(table) is not None
    for few, all_of_them in zip(proposals(NextInSequence(), table, *queries), exact, strict=True):
        assert few == pytest.approx(all_of_them, rel=1e-4)


def test_what_is_newer_than_the_inverted_file_is_found_where_it_is_now(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(learned, "LEAST_INVERTED", 1)
    monkeypatch.setattr(learned, "STALE_SHARE", 0.9)  # so that it is not made again
    items, trends = a_random_world(5)
    encoder, queries = AnEncoder(), [a_random_query(k) for k in range(12)]
    table = a_table(items, trends, encoder=encoder)
    assert table.learned is not None
    proposals(NextInSequence(), table, *queries)
    turned = {hash64(item.item_id) for item in items[::3]}
    by_hash = encoder.vector_of
    monkeypatch.setattr(
        encoder, "vector_of", lambda item: [-w for w in by_hash(item)] if item in turned else by_hash(item)
    )
    table.learned.touch(np.arange(0, table.n, 3, dtype=np.int32))
    inverted = proposals(NextInSequence(), table, *queries)
    held = table.learned.inverted(table)
    assert held is not None
    assert len(held.newer)
    assert held.generation == 0
    monkeypatch.setattr(learned, "LEAST_INVERTED", 1_000)
    exact = proposals(NextInSequence(), a_table(items, trends, encoder=encoder), *queries)
    for few, all_of_them in zip(inverted, exact, strict=True):
        assert few == pytest.approx(all_of_them, rel=1e-4)


def test_where_no_sequence_model_serves_nothing_is_next():
    table = a_table([AnItem("a"), AnItem("b")])
    assert proposals(NextInSequence(), table, a_query(["a"])) == [{}]


def test_what_comes_next_goes_on_from_the_item_that_is_most_like_it():
    encoder = AnEncoder()
    vectors = {"a": [1.0, 0, 0, 0], "b": [0, 1.0, 0, 0], "c": [0, 0.9, 0.1, 0]}
    encoder.vector_of = lambda item: next(v for i, v in vectors.items() if hash64(i) == item)  # type: ignore[method-assign]
    table = a_table([AnItem(item) for item in vectors], encoder=encoder)
    causes = causes_of(NextInSequence(), table, a_batch(table, a_query(["a", "b"])), np.array([[2, -1]], np.int32))
    assert causes.tolist() == [[1, -1]]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_session_knn_cause_is_the_item_that_contributed_most(seed: int):
    items, trends = a_random_world(seed % 7)
    world = {item.item_id: item for item in items}
    sessions = some_random_sessions(seed)
    table = a_table(items, trends, sessions=sessions)
    query = a_random_query(seed)
    shares = literal.session_knn_shares(query, world, sessions)
    rows = np.array([*table.rows_of(np.array([hash64(item) for item in shares], np.int64)), -1], np.int32)
    *causes, of_nothing = causes_of(SessionKNN(), table, a_batch(table, query), rows[None, :])[0].tolist()
    assert of_nothing == -1
    for item, cause in zip(shares, causes, strict=True):
        assert shares[item][items[cause].item_id] == pytest.approx(max(shares[item].values()), rel=1e-5)


@WITH_EVERY_SOURCE
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 30))
def test_candidates_are_sorted_distinct_padded_and_as_many_as_there_are(source: CandidateSource, seed: int, n: int):
    table = a_random_table(seed)
    batch = a_batch(table, *(a_random_query(seed + i) for i in range(4)))
    found = candidates_of(source, table, batch, n)
    everything = candidates_of(source, table, batch, 200)

    assert found.rows.shape == found.scores.shape == (4, n)
    for b in range(4):
        kept = int((found.rows[b] >= 0).sum())
        rows, scores = found.rows[b, :kept], found.scores[b, :kept]
        order = [(-score, table.hashes[row]) for row, score in zip(rows, scores, strict=True)]
        assert order == sorted(order)
        assert len(set(rows.tolist())) == kept == min(n, int((everything.rows[b] >= 0).sum()))
        assert (found.rows[b, kept:] == -1).all()
        assert (found.scores[b, kept:] == 0).all()
        assert (scores > 0).all()
        assert rows.tolist() == everything.rows[b, :kept].tolist()


@WITH_EVERY_SOURCE
def test_generating_leaves_nothing_behind(source: CandidateSource):
    table = a_random_table(1)
    batch = a_batch(table, *(a_random_query(seed) for seed in range(20)))
    allowed = Allowed.of(batch, table)

    first, second = no_candidates(batch.n, 10), no_candidates(batch.n, 10)
    for found in (first, second):
        source.generate(batch, table, allowed, found)

    assert np.array_equal(first.rows, second.rows)
    assert np.array_equal(first.scores, second.scores)
    assert np.array_equal(allowed.flags, usable(table))
    assert not scratch(table.n).sums.any()
    assert not scratch(table.n).slots.any()


@WITH_EVERY_SOURCE
def test_other_row_numbers_give_the_same_candidates_in_the_same_order(source: CandidateSource):
    queries = [a_random_query(seed) for seed in range(20)]
    answers = []
    for shuffle in (None, 1, 2):
        table = a_random_table(2, shuffle)
        found = candidates_of(source, table, a_batch(table, *queries), 15)
        answers.append(([rows_by_id(table, rows) for rows in found.rows], found.scores.tolist()))

    assert answers[0] == answers[1] == answers[2]


@WITH_EVERY_SOURCE
def test_unknown_items_unknown_segments_and_users_without_a_past_are_survived(source: CandidateSource):
    table = a_random_table(3)
    new_users = [
        a_query(segments=()),
        a_query(["nowhere", "nothing"], current="never", interests={"tag=unheard": (1.0, 1.0)}, segments=(12345,)),
    ]
    assert proposals(source, table, *new_users) == [{}, {}]


@WITH_EVERY_SOURCE
def test_an_empty_table_has_no_candidates(source: CandidateSource):
    assert proposals(source, a_table([]), a_query(["a"], current="b")) == [{}]


@WITH_EVERY_SOURCE
def test_a_cause_is_named_only_for_the_rows_that_are_asked_for(source: CandidateSource):
    table = a_random_table(4)
    batch = a_batch(table, *(a_random_query(seed) for seed in range(5)))
    assert (causes_of(source, table, batch, np.full((5, 3), -1, np.int32)) == -1).all()


def test_what_has_all_but_decayed_is_no_number_beyond_float32():
    fading = {"a": 1e-44, "b": 0.0}
    table = a_table(
        [AnItem("a"), AnItem("b"), AnItem("c")], {hash64("all"): fading, hash64("new"): {"c": 1.0, "a": 0.5}}
    )
    [found] = proposals(Trending(), table, a_query(segments=(hash64("all"), hash64("new"))))
    assert found == pytest.approx({"a": 1.25, "c": 0.5})


def test_trending_of_the_users_segment_comes_before_what_is_popular_everywhere():
    items, _ = a_random_world(5)
    mobile, everyone = hash64("device=mobile"), hash64("all")
    open_items = [item.item_id for item in items if item.available and item.named][:3]
    a, b, c = open_items
    table = a_table(items, {mobile: {a: 4.0, b: 2.0}, everyone: {c: 900.0, b: 450.0}})

    [on_mobile] = proposals(Trending(), table, a_query(segments=(mobile, everyone)))
    assert on_mobile == pytest.approx({a: 1.0, b: 0.5 + 0.5 * 0.5, c: 0.5})
