"""Weights, tails and groups of users who wait: what sums make of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.sums import Values, bin_of, quantile_bin, sums_of, upper_edge
from models.experiments.judge.tally import Tally, add_up_changes
from models.experiments.judge.user_metrics import Change

VALUE = INDEX_OF["value"]


def spender(spent: float, before: float = 0.0) -> Values:
    values = [[0.0, 1.0, 0.0, 1.0] for _ in METRICS]
    values[VALUE] = [spent, 1.0, before, 1.0]
    return values


AMOUNTS = st.floats(0.01, 1e6)
USERS = st.lists(st.tuples(AMOUNTS | st.just(0.0), st.floats(0.1, 2)), min_size=1, max_size=30)


@given(USERS, st.integers(-20, 60))
def test_sums_are_winsorised_as_if_nobody_had_spent_more_than_the_cap(users: list[tuple[float, float]], cap: int):
    whole = sums_of([(spender(spent), weight) for spent, weight in users])
    capped = [(upper_edge(cap) if spent and bin_of(spent) > cap else spent, weight) for spent, weight in users]
    expected = sums_of([(spender(spent), weight) for spent, weight in capped]).grams
    np.testing.assert_allclose(whole.winsorised(cap), expected, atol=1e-9 * (1 + whole.grams.max()))


@given(USERS, USERS)
def test_what_is_added_and_taken_away_again_leaves_what_was(
    some: list[tuple[float, float]], others: list[tuple[float, float]]
):
    stay, go = ([(spender(spent, spent), weight) for spent, weight in users] for users in (some, others))
    found = sums_of([*stay, *go])
    found.add(sums_of(go), -1)
    expected = sums_of(stay)
    assert found.users == expected.users
    np.testing.assert_allclose(found.grams, expected.grams, rtol=1e-6, atol=1e-3)
    assert {b: n for b, n in found.spent_before.items() if n} == expected.spent_before


@given(AMOUNTS)
def test_an_amount_is_below_the_upper_edge_of_its_bin(amount: float):
    assert upper_edge(bin_of(amount) - 1) <= amount * (1 + 1e-12)
    assert amount <= upper_edge(bin_of(amount)) * (1 + 1e-12)


def test_the_cap_is_a_quantile_of_what_users_had_spent_before_and_needs_a_hundred_of_them():
    assert quantile_bin({5: 99}, 0.5) is None
    assert quantile_bin({5: 98, 9: 1, 30: 1}, 0.99) == 9
    assert quantile_bin({5: 98, 9: 1, 30: 1}, 1.0) is None


def a_change(number: float, weight: float = 1.0, due_at: int = 0, at: int = 1, old: float | None = None) -> Change:
    return Change("e", "d", "a", at, None if old is None else spender(old), spender(number), (), None, weight, due_at)


def test_a_user_counts_for_the_weight_and_the_variance_for_its_square():
    tally = Tally()
    tally.add(add_up_changes([a_change(3.0, weight=0.5), a_change(5.0, weight=2.0)])[0])
    grams = tally.arm("a").judged.grams[:, VALUE]
    assert (grams[0, 0, 0], grams[0, 0, 1]) == (2.5, 11.5)
    assert (grams[1, 0, 0], grams[1, 0, 1]) == (4.25, 0.25 * 3 + 4 * 5)


def test_users_are_judged_once_they_have_reached_their_age_and_corrected_wherever_they_are():
    tally = Tally()
    tally.add(add_up_changes([a_change(3.0, due_at=100, at=50)])[0])
    tally.add(add_up_changes([a_change(4.0, due_at=100, at=60, old=3.0)])[0])
    arm = tally.arm("a")
    assert (arm.users, arm.judged.users, arm.judged.grams.any()) == (1, 0, False)
    again = Tally(tally.pack())
    for one in (tally, again):
        one.add(add_up_changes([a_change(0.0, due_at=200, at=100)])[0])
        assert (one.arm("a").users, one.arm("a").judged.users) == (2, 1)
        assert one.arm("a").judged.grams[0, VALUE, 0, 1] == 4
        one.add(add_up_changes([a_change(6.0, due_at=100, at=101, old=4.0)])[0])
        assert one.arm("a").judged.grams[0, VALUE, 0, 1] == 6
    assert again.pack() == tally.pack()


def test_versions_are_counted_and_the_newest_stay():
    tally = Tally()
    for n in range(20):
        tally.add(add_up_changes([a_change(0.0)._replace(versions={f"v{n}": [1, 10, 2, 1, 1]})])[0])
    tally.add(add_up_changes([a_change(0.0)._replace(versions={"v0": [0, 0, 1, 0, 0], "v19": [0, 0, 1, 0, 0]})])[0])
    versions = Tally(tally.pack()).arm("a").versions
    assert list(versions) == [f"v{n}" for n in range(4, 20)]
    assert versions["v19"] == [1, 10, 3, 1, 1]
