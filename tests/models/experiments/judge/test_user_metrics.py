from itertools import pairwise
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ImpressionKind, OutcomeConfig
from models.experiments.judge.journal import MAX_SLATES
from models.experiments.judge.metrics import INDEX_OF
from models.experiments.judge.observations import Observation
from models.experiments.judge.user_metrics import MAX_OPEN, MAX_WAITING, UserMetrics
from tests import places
from tests.models.experiments.observing import acts, changes_of, is_exposed, is_shown, metrics_of, sees

GOLDENS = [places.GOLDEN / f"user_outcomes_v{version}.bin" for version in (1, 2)]

ITEMS = st.integers(1, 5)
MINUTES = st.integers(0, 9)
OBSERVATIONS: st.SearchStrategy[Observation] = st.one_of(
    st.builds(lambda minute, item, goal: acts(minute, item, is_goal=goal, value=2.0), MINUTES, ITEMS, st.booleans()),
    st.builds(sees, MINUTES, ITEMS),
    st.builds(lambda minute, items: is_shown(minute, *items), MINUTES, st.lists(ITEMS, min_size=1, unique=True)),
    st.builds(is_exposed, MINUTES, st.just("control")),
)


@given(
    st.lists(OBSERVATIONS, max_size=25), st.randoms(use_true_random=False), st.sampled_from(get_args(ImpressionKind))
)
def test_the_order_of_arrival_changes_nothing(
    observations: list[Observation], random: object, impressions: ImpressionKind
):
    # One of each place, since of two observations at one place the first to come counts.
    known = [is_exposed(0), *{(type(o), o.at, o.id): o for o in observations}.values()]
    shuffled = list(known)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert metrics_of(shuffled, impressions=impressions) == metrics_of(known, impressions=impressions)
    at_once = UserMetrics(OutcomeConfig(), impressions)
    at_once.observe(shuffled)
    change = at_once.change(shuffled)
    assert change is not None
    assert change.new == list(metrics_of(known, impressions=impressions).values())


@given(st.lists(OBSERVATIONS, max_size=90), st.integers(0, 89))
def test_a_packed_user_continues_as_if_never_packed(observations: list[Observation], cut: int):
    config = OutcomeConfig()
    through, first = UserMetrics(config, "slate"), UserMetrics(config, "slate")
    resumed = first
    for place, observation in enumerate(observations):
        if place == cut:
            resumed = UserMetrics(config, "slate", first.pack())
        assert resumed.observe([observation]) == through.observe([observation])
        assert resumed.change([observation]) == through.change([observation])
    assert resumed.pack() == through.pack()


def test_a_repeat_is_recognised_and_an_observation_overtaken_by_too_many_is_late():
    user = UserMetrics(OutcomeConfig(), "slate")
    assert user.observe([acts(1), acts(1)]) == {"repeated": 1}
    assert not user.observe([acts(minute) for minute in range(10, 10 + MAX_OPEN)])
    assert user.observe([acts(0), acts(1), acts(2), acts(10)]) == {"late": 2, "repeated": 1}


@pytest.mark.parametrize("n_behind", [MAX_OPEN + 1, 100, MAX_WAITING - MAX_OPEN])
def test_slates_that_come_long_after_their_events_count_as_if_they_had_come_in_time(n_behind: int):
    """`recommend` was behind for minutes, active users went on: up to 25 slates of a user were lost to the count."""
    begun = [is_exposed(0), acts(1), is_shown(1, 1, 2, novelty=0.5)]
    events = [acts(2 + n, item=n % 4) for n in range(n_behind)]
    slates = [is_shown(2 + n, n % 3, 7, novelty=0.5) for n in range(n_behind)]
    in_time = [*begun, *(one for pair in zip(events, slates, strict=True) for one in pair)]
    user = UserMetrics(OutcomeConfig(), "slate")
    assert not user.observe([*begun, *events])
    for slate in slates:
        assert not user.observe([slate])
    change = user.change([])
    assert change is not None
    assert change.new == list(metrics_of(in_time).values())


def test_what_waits_for_slates_is_bounded_and_is_no_more_than_usual_once_they_have_come():
    user = UserMetrics(OutcomeConfig(), "slate")
    user.observe([is_exposed(0), is_shown(1, 1)])
    user.observe([acts(2 + n) for n in range(3 * MAX_WAITING)])
    assert user.n_kept <= MAX_WAITING + MAX_SLATES
    user.observe([is_shown(5_000, 1)])
    assert user.n_kept <= MAX_OPEN + MAX_SLATES


def test_without_any_slate_nothing_waits():
    user = UserMetrics(OutcomeConfig(), "slate")
    user.observe([acts(n) for n in range(MAX_WAITING)])
    assert user.n_kept == MAX_OPEN


def test_a_first_exposure_is_never_too_late_and_counts_from_where_it_comes():
    overtaken = [acts(minute) for minute in range(1, MAX_OPEN + 11)]
    change = changes_of([*overtaken, is_exposed(0)])[-1]
    assert change.new is not None
    assert change.new[INDEX_OF["activity"]] == [MAX_OPEN, 1, 0, 1]  # the ten before may have been the variant's doing
    assert len(changes_of([*overtaken, is_exposed(0), is_exposed(0.5, digest="older")])) == 1


def test_the_state_of_a_user_is_bounded():
    user = UserMetrics(OutcomeConfig(), "slate")
    sizes = []
    for n in range(5 * MAX_OPEN):
        slate = is_shown(n / 100, *(2**62 + n + place for place in range(10)))
        assert not user.observe([slate])
        user.change([slate])
        sizes.append(len(user.pack()))
    assert max(sizes[2 * MAX_OPEN :]) <= max(sizes[: 2 * MAX_OPEN]) + 20


def test_a_change_takes_away_what_the_one_before_it_added():
    changes = changes_of([is_exposed(), is_shown(1, 1, 2), acts(2, 1), acts(3, 1)])
    assert changes[0].old is None
    for before, after in pairwise(changes):
        assert after.old == before.new
    assert changes[1].items == (1, 2)


def test_an_exposure_that_comes_after_its_slate_counts_all_since():
    changes = changes_of([acts(2, 1), is_shown(1, 1, 2), is_exposed(1)])
    [change] = changes
    assert change.new is not None
    assert np.array(change.new)[0].tolist() == [1, 2, 0, 0]


def test_users_in_no_experiment_change_nothing():
    assert changes_of([is_shown(1), acts(2)]) == []


def test_an_erasure_takes_the_user_out_of_the_arm():
    user = UserMetrics(OutcomeConfig(), "slate")
    assert user.erase(1) is None
    user.observe([is_exposed()])
    added = user.change([is_exposed()])
    withdrawn = user.erase(1)
    assert added is not None
    assert withdrawn is not None
    assert (withdrawn.variant, withdrawn.old, withdrawn.new) == ("control", added.new, None)


def a_user() -> UserMetrics:
    """With a past, settled and open observations, and reported values."""
    user = UserMetrics(OutcomeConfig(), "slate")
    acted = acts(2, 5, is_rating=True, value=4.0, written_at=9)
    begun = [is_shown(0, 5), acted, is_exposed(3), is_shown(4, 1, 2, novelty=0.5), sees(5, 2), acts(20, 2)]
    observations = [*begun, *(acts(30 + n) for n in range(MAX_OPEN))]
    user.observe(observations)
    user.change(observations)
    return user


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda path: path.stem)
def test_an_old_snapshot_still_loads(golden: Path):
    user = UserMetrics(OutcomeConfig(), "slate", golden.read_bytes())
    assert UserMetrics(OutcomeConfig(), "slate", user.pack()).pack() == user.pack()
    assert user.erase(1) == a_user().erase(1)


def test_a_metric_that_an_upgrade_adds_begins_with_nothing():
    packed = a_user().pack()
    (exposed, during, before, *journal), settled_to, waiting, newest_at, reported, *rest = msgspec.msgpack.decode(
        packed[1:]
    )
    journal = [exposed, during[:-1], before[:-1], *journal]
    old = [journal, settled_to, waiting, newest_at, reported[:-1], *rest]
    user = UserMetrics(OutcomeConfig(), "slate", packed[:1] + msgspec.msgpack.encode(old))
    assert user.pack() == a_user().pack()


def test_a_state_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format 9"):
        UserMetrics(OutcomeConfig(), "slate", b"\x09")
