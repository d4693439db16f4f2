from typing import Any

import pytest

from models.candidates.blend import Blended, blend
from models.candidates.protocol import CandidateSource
from models.candidates.scratch import scratch
from models.candidates.selection import Allowed, Candidates
from models.candidates.weights import blend_again
from models.features.table import featurise
from models.items import ItemTable
from models.names import SOURCES, SourceName
from models.numeric.arrays import Int32s, Int64s
from models.query.batch import QueryBatch
from models.strategy import SessionSources, Strategy
from tests.models.builders import AnItem, a_batch, a_query, a_strategy, a_table


class Fixed(CandidateSource):
    """A source that proposes the same to everybody."""

    def __init__(self, scores: dict[str, float]) -> None:
        self.scores = scores

    def generate(self, batch: QueryBatch, table: ItemTable, allowed: Allowed, found: Candidates) -> None:  # noqa: ARG002
        for p, (item, score) in enumerate(list(self.scores.items())[: found.rows.shape[1]]):
            found.rows[:, p] = table.ids.index(item)
            found.scores[:, p] = score

    def explain(self, batch: QueryBatch, table: ItemTable, rows: Int32s, causes: Int64s) -> None: ...


TABLE = a_table([AnItem(item) for item in "abcd"] + [AnItem("gone", available=False)])
SAID: dict[SourceName, dict[str, float]] = {
    "sequential_rules": {"a": 8.0, "b": 2.0},
    "covisitation": {"b": 0.4, "c": 0.1},
    "trending": {},
    "content": {"d": 3.0},
}


def blended(weights: dict[SourceName, float], n: int = 10, **query: Any) -> tuple[list[str], Blended]:
    asked = a_query(strategy=a_strategy(sources=weights), **query)
    sources = [Fixed(SAID.get(name, {})) for name in SOURCES]
    result = blend(a_batch(TABLE, asked), TABLE, n, sources)
    return [TABLE.ids[row] for row in result.rows[0] if row >= 0], result


def test_each_sources_scores_are_shares_of_its_largest_and_are_averaged_by_weight():
    items, result = blended({"sequential_rules": 3.0, "covisitation": 1.0})
    # a 3/4 * 8/8, b 3/4 * 2/8 + 1/4 * 4/4, c 1/4 * 1/4
    assert items == ["a", "b", "c"]
    assert result.scores[0, :3] == pytest.approx([0.75, 0.4375, 0.0625])
    assert result.source_scores[0, 1, :4] == pytest.approx([0.25, 1.0, 0, 0])
    assert result.source_ranks[0, 1, :4] == pytest.approx([0.5, 1.0, 0, 0])


def test_the_top_source_is_the_one_that_contributed_most():
    _, result = blended({"sequential_rules": 3.0, "covisitation": 1.0})
    assert [SOURCES[s] for s in result.top_source[0, :3]] == [
        "sequential_rules",
        "covisitation",
        "covisitation",
    ]
    _, result = blended({"sequential_rules": 6.0, "covisitation": 1.0})
    assert SOURCES[result.top_source[0, 1]] == "sequential_rules"


def test_a_source_that_is_not_named_is_off():
    items, _ = blended({"covisitation": 1.0, "content": 0.0})
    assert items == ["b", "c"]


def test_the_blend_is_cut_to_its_best():
    items, result = blended({"sequential_rules": 3.0, "covisitation": 1.0}, n=2)
    assert items == ["a", "b"]
    assert result.rows.shape == (1, 2)


def test_own_candidates_stay_even_if_no_source_names_them():
    items, result = blended({"trending": 1.0}, candidates=["d", "c", "gone", "c"])
    assert sorted(items) == ["c", "d"]
    assert (result.scores == 0).all()
    assert (result.top_source == -1).all()


def test_with_a_search_text_the_content_source_weighs_as_much_as_all_others_together():
    items, result = blended({"sequential_rules": 3.0, "covisitation": 1.0}, query="d")
    # a 3/8, b 3/8 * 1/4 + 1/8, c 1/8 * 1/4, d 4/8
    assert items == ["d", "a", "b", "c"]
    assert result.scores[0, :4] == pytest.approx([0.5, 0.375, 0.21875, 0.03125])


def of_a_small_source(n: int, n_from_each: int) -> tuple[list[str], Blended]:
    """Blend two sources of which the second weighs next to nothing, and puts `d` and `c` first."""
    said: dict[SourceName, dict[str, float]] = {
        "sequential_rules": {item: 10.0 - number for number, item in enumerate("efghij")},
        "trending": {"d": 9.0, "c": 8.0, "e": 7.0},
    }
    table = a_table([AnItem(item) for item in "abcdefghij"])
    weights: dict[SourceName, float] = {"sequential_rules": 1.0, "trending": 0.001}
    asked = a_query(strategy=a_strategy(sources=weights, n_from_each=n_from_each))
    result = blend(a_batch(table, asked), table, n, [Fixed(said.get(name, {})) for name in SOURCES])
    return [table.ids[row] for row in result.rows[0] if row >= 0], result


def test_each_sources_best_are_candidates_whatever_it_weighs():
    assert of_a_small_source(4, n_from_each=0)[0] == list("efgh")
    items, result = of_a_small_source(4, n_from_each=1)
    assert items == list("efgd")
    assert result.scores[0, 3] == pytest.approx(0.001 / 1.001)
    trending = SOURCES.index("trending")
    assert result.source_ranks[0, :, trending] == pytest.approx([1 / 3, 0, 0, 1])


def test_the_best_half_of_the_blend_stays_and_so_do_heads_that_it_has():
    assert of_a_small_source(6, n_from_each=2)[0] == list("efghdc")
    # e and f stay as the better half, and g and h as heads of their own source.
    assert of_a_small_source(4, n_from_each=4)[0] == list("efgh")
    assert of_a_small_source(2, n_from_each=1)[0] == list("ed")


def test_where_all_that_was_named_has_room_nothing_is_exchanged():
    assert of_a_small_source(8, n_from_each=10)[0] == list("efghijdc")


def test_blending_leaves_nothing_behind():
    blended({"sequential_rules": 1.0, "content": 1.0}, n=1)
    assert not scratch(TABLE.n).slots.any()


def by_length() -> Strategy:
    """Go by rules at first, by co-visitation from two acts on, and by both from four on."""
    return a_strategy(
        sources={"sequential_rules": 1.0},
        sources_by_session=(
            SessionSources(2, {"covisitation": 1.0}),
            SessionSources(4, {"sequential_rules": 3.0, "covisitation": 1.0}),
        ),
    )


def test_the_weights_of_the_length_that_a_session_has_reached_hold():
    table = a_table([*map(AnItem, "abcd"), *(AnItem(f"p-{n}") for n in range(5))])
    sessions = [[f"p-{n}" for n in range(length)] for length in (0, 1, 2, 3, 4, 5)]
    queries = [a_query(recent, strategy=by_length()) for recent in sessions]
    result = blend(a_batch(table, *queries), table, 10, [Fixed(SAID.get(name, {})) for name in SOURCES])
    rules, pairs, both = [1.0, 0.25, 0.0], [0.0, 1.0, 0.25], [0.75, 0.4375, 0.0625]
    for b, expected in enumerate([rules, rules, pairs, pairs, both, both]):
        scores = dict(zip(result.rows[b].tolist(), result.scores[b].tolist(), strict=True))
        assert [scores[table.ids.index(item)] for item in "abc"] == pytest.approx(expected)


def test_more_can_be_kept_than_each_source_is_asked_for():
    asked = a_query(strategy=a_strategy(sources={"sequential_rules": 1.0, "covisitation": 1.0}, n_from_each=0))
    sources = [Fixed(SAID.get(name, {})) for name in SOURCES]
    assert (blend(a_batch(TABLE, asked), TABLE, 2, sources).rows >= 0).sum() == 2
    assert (blend(a_batch(TABLE, asked), TABLE, 2, sources, n_kept=4).rows >= 0).sum() == 3


def test_a_blend_by_the_features_alone_is_the_one_that_served():
    table = a_table([*map(AnItem, "abcd"), *(AnItem(f"p-{n}") for n in range(5))])
    queries = [a_query([f"p-{n}" for n in range(length)], strategy=by_length()) for length in range(6)]
    batch = a_batch(table, *queries)
    result = blend(batch, table, 10, [Fixed(SAID.get(name, {})) for name in SOURCES])
    assert blend_again(featurise(batch, table, result), by_length()) == pytest.approx(result.scores, abs=1e-6)
