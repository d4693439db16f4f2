import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.judge.coverage import count_items
from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.moments import gram
from models.experiments.judge.tally import MAX_POINTS, Tally, add_up_changes
from models.experiments.judge.user_metrics import Change, Values
from models.messages import Decision, ResultPoint
from tests import places

GOLDEN, GOLDEN_1 = places.GOLDEN / "tally_v2.bin", places.GOLDEN / "tally_v1.bin"


N_AT_FIRST = 12
"""Metrics of the first release, of which the golden file is; those added since begin with nothing."""


def values(number: float) -> Values:
    return [[number if m < N_AT_FIRST else 0.0, 1.0, 0.0, 1.0] for m in range(len(METRICS))]


def a_change(variant: str, old: float | None, new: float | None, at: int = 1, items: tuple[int, ...] = ()) -> Change:
    return Change(
        "e", "d", variant, at, None if old is None else values(old), None if new is None else values(new), items
    )


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40),
    st.integers(1, 7),
)
def test_a_tally_is_what_the_users_newest_outcomes_add_up_to(steps: list[tuple[str, int, int]], size: int):
    newest: dict[tuple[str, int], int] = {}
    changes = []
    for variant, user, outcome in steps:
        old = newest.get((variant, user))
        changes.append(a_change(variant, old, outcome))
        newest[variant, user] = outcome
    tally = Tally()
    for start in range(0, len(changes), size):
        [delta] = add_up_changes(changes[start : start + size])
        tally.add(delta)
    for variant in "ab":
        users = [values(outcome) for (name, _), outcome in newest.items() if name == variant]
        expected = gram(np.array(users)).sum(axis=0) if users else np.zeros((len(METRICS), 5, 5))
        np.testing.assert_allclose(tally.arm(variant).judged.grams, [expected, expected])
        assert tally.arm(variant).users == len(users)
    assert tally.n_changes == len(changes)


def test_an_erased_user_leaves_the_sums():
    tally = Tally()
    for change in (a_change("a", None, 3), a_change("a", 3, None)):
        tally.add(add_up_changes([change])[0])
    assert not tally.arm("a").judged.grams.any()
    assert not any(part.any() for part in tally.arm("a").judged.tail.values())


def test_declarations_are_added_up_apart():
    other = a_change("a", None, 1)._replace(digest="d2")
    assert [delta.digest for delta in add_up_changes([a_change("a", None, 1), other])] == ["d", "d2"]


def a_tally() -> Tally:
    tally = Tally()
    tally.add(add_up_changes([a_change("a", None, 2, items=(5, 6)), a_change("b", None, 4, at=9)])[0])
    tally.remember(ResultPoint(9, 2, {"b": (None, 0.5)}))
    tally.decision = Decision("winner", 9, 2)
    return tally


def test_an_old_snapshot_still_loads():
    assert Tally(GOLDEN.read_bytes()).pack() == a_tally().pack()


def test_a_snapshot_of_format_1_goes_on_with_everybody_counting_for_1():
    old, now = Tally(GOLDEN_1.read_bytes()), a_tally()
    assert (old.is_old, old.is_unweighted) == (True, False)
    assert (old.at, old.n_changes, old.decision, old.points) == (now.at, now.n_changes, now.decision, now.points)
    for variant in "ab":
        np.testing.assert_array_equal(old.arm(variant).judged.grams, now.arm(variant).judged.grams)
        assert old.arm(variant).users == now.arm(variant).users == 1
        np.testing.assert_array_equal(old.arm(variant).items, now.arm(variant).items)
    assert Tally(old.pack()).is_old


def test_a_snapshot_of_format_1_whose_traffic_had_moved_says_that_its_users_are_not_weighted():
    state = msgspec.msgpack.decode(GOLDEN_1.read_bytes()[1:])
    state[7:] = [[0.4, 0.6]]
    tally = Tally(b"\x01" + msgspec.msgpack.encode(state))
    assert tally.is_unweighted
    assert Tally(tally.pack()).is_unweighted


def test_a_packed_tally_is_the_same_tally():
    tally = a_tally()
    again = Tally(tally.pack())
    assert again.pack() == tally.pack()
    assert (again.at, again.decision, again.points) == (9, tally.decision, tally.points)
    assert count_items(again.arm("a").items) == 2
    assert again.arm("b").judged.grams[0, INDEX_OF["ctr"], 0, 1] == 4
    again.add(add_up_changes([a_change("a", None, 2)])[0])
    assert again.arm("a").users == 2


def test_users_so_far_have_done_nothing_of_a_metric_that_an_upgrade_adds():
    packed = a_tally().pack()
    state = msgspec.msgpack.decode(packed[1:])
    for arm in state[2].values():
        grams = np.frombuffer(arm[0][1]).reshape(2, len(METRICS), 5, 5)
        arm[0][1] = grams[:, :-1].tobytes()  # without the sums of the newest metric
    tally = Tally(packed[:1] + msgspec.msgpack.encode(state))
    np.testing.assert_array_equal(tally.arm("a").judged.grams[:, :-1], a_tally().arm("a").judged.grams[:, :-1])
    nothing = [*values(2)[:-1], [0.0, 1.0, 0.0, 1.0]]
    np.testing.assert_array_equal(tally.arm("a").judged.grams, [gram(np.array(nothing))] * 2)
    tally.add(add_up_changes([a_change("a", 2, 3)._replace(old=nothing)])[0])
    np.testing.assert_array_equal(tally.arm("a").judged.grams, [gram(np.array(values(3)))] * 2)


def test_looks_are_thinned_evenly():
    tally = Tally()
    for n in range(1_000):
        tally.remember(ResultPoint(n, n, {}))
    kept = [point.at for point in tally.points]
    assert MAX_POINTS / 2 <= len(kept) <= MAX_POINTS
    assert kept[0] == 0
    assert len(set(np.diff(kept).tolist())) == 1
    assert kept[-1] > 1_000 - 2 * (kept[1] - kept[0])


def test_a_state_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format 9"):
        Tally(b"\x09")
