import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.assign.declaration import Rules
from models.experiments.assign.interleaving import interleave
from models.experiments.judge.results import no_preference
from models.experiments.judge.verdict import compare
from tests.models.experiments.builders import estimates, values_of

RANKINGS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@given(RANKINGS, RANKINGS, st.integers(1, 10), st.integers(0, 99))
def test_teams_take_turns_and_each_its_best_item_that_is_left(first: list[str], second: list[str], n: int, seed: int):
    drafted = interleave(first, second, n, seed)
    items = [place.item for place in drafted]
    assert len(items) == len(set(items)) == min(n, len({*first, *second}))
    rankings = (first, second)
    for position, place in enumerate(drafted):
        left = [item for item in rankings[place.team] if item not in items[:position]]
        assert place.item == left[0]
    both_have_left = min(len(first), len(second)) // 2
    for start in range(0, both_have_left - both_have_left % 2, 2):
        assert {place.team for place in drafted[start : start + 2]} <= {0, 1}
        if start + 2 <= len(drafted):
            assert {place.team for place in drafted[start : start + 2]} == {0, 1}


def test_equal_rankings_keep_their_order_whatever_the_coins_say():
    assert [place.item for place in interleave("abc", "abc", 3, 5)] == ["a", "b", "c"]


def test_the_same_seed_gives_the_same_slate_and_both_teams_begin_alike_often():
    begins = [interleave("ab", "cd", 4, seed)[0].team for seed in range(400)]
    assert begins == [interleave("ab", "cd", 4, seed)[0].team for seed in range(400)]
    assert 160 < sum(begins) < 240


def test_users_who_want_the_second_rankings_items_make_it_win():
    rng = np.random.default_rng(1)
    [preferences] = estimates(values_of(rng.choice([-1.0, 0.0, 1.0], 3_000, p=[0.2, 0.5, 0.3])))
    assert compare(preferences, no_preference(preferences), np.array(False), Rules()).verdict == "winner"
