"""Traffic that moves: when, how far, whom it concerns, and what the sample-ratio alarm makes of it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiments.assign.assignment import Experiments, bucket_of, bucket_ranges, choose, choose_by
from models.experiments.assign.declaration import Analysis, Experiment, TrafficBounds, Variant
from models.experiments.assign.traffic import (
    MAX_CHANGES,
    NOTICE_MS,
    Traffic,
    permits,
    steer,
    stop_shares,
    weight_of,
)
from models.experiments.judge.metrics import METRICS
from models.experiments.judge.results import look, mean_shares
from models.experiments.judge.sequential import mismatch_p
from models.experiments.judge.tally import Tally, add_up_changes
from models.experiments.judge.user_metrics import Change
from models.messages import ExperimentResult, TrafficPoint
from models.strategy import Strategy

NOW = 1_700_000_000_000
MINUTE = 60_000
USERS = [f"u-{n}" for n in range(4_000)]
BANDIT = TrafficBounds(0.2, 0.8)


def an_experiment(coverage: float = 1.0, weights: tuple[float, ...] = (1.0, 1.0), **analysis: Any) -> Experiment:
    variants = tuple(Variant(f"v{n}", weight, Strategy()) for n, weight in enumerate(weights))
    return Experiment("e", variants, coverage=coverage, analysis=Analysis(**analysis))


def a_result(experiment: Experiment, *points: tuple[int, list[float]], updated_at: int = NOW) -> ExperimentResult:
    result = look(Tally(), experiment, "slate")
    traffic = [TrafficPoint(at, shares) for at, shares in points]
    return replace(result, updated_at=updated_at, traffic=traffic)


def moved(*points: tuple[int, list[float]], **fields: Any) -> Experiments:
    experiment = an_experiment(**{"bandit": BANDIT} | fields)
    experiments = Experiments([experiment])
    experiments.traffic.take(a_result(experiment, *points))
    return experiments


def test_new_users_fall_by_the_shares_that_are_in_force_at_their_event_time():
    experiments = moved((NOW, [0.2, 0.8]))
    for at, share in ((NOW - 1, 0.5), (NOW, 0.8)):
        n = sum(experiments.assign(user, at).variant == "v1" for user in USERS)
        assert n == pytest.approx(share * 4_000, abs=4 * 32)
    assert experiments.assign("u-1", NOW).shares == (0.2, 0.8)
    assert experiments.assign("u-1", NOW - 1).shares is None


def test_who_has_a_variant_keeps_it_however_the_shares_move():
    experiments = moved((NOW, [0.2, 0.8]), (NOW + 9, [0.8, 0.2]))
    for user in USERS[:500]:
        first = experiments.assign(user, NOW)
        later = experiments.assign(user, NOW + 9, (first.digest, first.variant))
        assert (later.variant, later.strategy, later.shares) == (first.variant, first.strategy, None)
    assert any(experiments.assign(user, NOW).variant != experiments.assign(user, NOW + 9).variant for user in USERS)


def test_an_assignment_of_another_declaration_holds_nobody():
    experiments = moved((NOW, [0.2, 0.8]))
    for user in USERS[:100]:
        assert experiments.assign(user, NOW, ("other", "v0")) == experiments.assign(user, NOW)


def test_shares_change_nobodys_part_in_the_experiment():
    experiments, fixed = moved((NOW, [0.2, 0.8]), coverage=0.3), Experiments([an_experiment(coverage=0.3)])
    for user in USERS[:1_000]:
        assert (experiments.assign(user, NOW) is None) is (fixed.assign(user) is None)
    taking_part = [found for user in USERS if (found := experiments.assign(user, NOW))]
    n = sum(found.variant == "v1" for found in taking_part)
    assert n / len(taking_part) == pytest.approx(0.8, abs=0.05)


@given(st.integers(0, 9_999), st.floats(0.05, 1), st.lists(st.floats(0.1, 5), min_size=2, max_size=4))
def test_the_declared_shares_give_the_declared_variant(bucket: int, coverage: float, weights: list[float]):
    ranges = bucket_ranges(weights, coverage)
    shares = [weight / sum(weights) for weight in weights]
    place = choose(bucket / 10_000, ranges)
    found = choose_by(bucket / 10_000, ranges, shares)
    near_an_edge = any(abs(bucket / 10_000 - edge) < 1e-9 for edges in ranges for edge in edges)
    assert found == place or near_an_edge


def test_an_experiment_that_lets_nothing_move_follows_no_result():
    experiment = an_experiment()
    experiments = Experiments([experiment])
    assert not experiments.traffic.may_move
    assert experiments.traffic.take(a_result(experiment, (NOW, [0.2, 0.8]))) == 0
    assert experiments.assign("u-1", NOW).shares is None


@pytest.mark.parametrize(
    ("shares", "analysis", "allowed"),
    [
        ([0.5, 0.5], {}, True),
        ([0.4, 0.6], {}, False),
        ([0.0, 1.0], {"stop": True}, True),
        ([0.05, 0.95], {"stop": True}, True),
        ([0.1, 0.9], {"stop": True}, False),
        ([0.1, 0.9], {"stop": True, "holdback": 0.1}, True),
        ([0.2, 0.8], {"bandit": BANDIT}, True),
        ([0.1, 0.9], {"bandit": BANDIT}, False),
        ([0.0, 1.0], {"bandit": BANDIT}, False),
        ([0.5, 0.6], {"bandit": BANDIT}, False),
        ([0.4, 0.3, 0.3], {"bandit": BANDIT}, False),
    ],
)
def test_shares_beyond_what_is_declared_are_refused(shares: list[float], analysis: dict[str, Any], allowed: bool):
    experiment = an_experiment(**analysis)
    assert permits(experiment, shares) is allowed
    traffic = Traffic([experiment])
    if traffic.may_move:
        assert traffic.take(a_result(experiment, (NOW, shares))) == (not allowed)


def test_an_older_result_changes_nothing():
    experiment = an_experiment(bandit=BANDIT)
    traffic = Traffic([experiment])
    traffic.take(a_result(experiment, (NOW, [0.2, 0.8]), updated_at=NOW))
    traffic.take(a_result(experiment, (NOW, [0.6, 0.4]), updated_at=NOW - 1))
    assert traffic.in_force(experiment.digest(), NOW) == (0.2, 0.8)


def test_shares_take_effect_after_their_notice_and_only_where_they_differ():
    points: list[TrafficPoint] = []
    assert steer(points, (0.505, 0.495), (0.5, 0.5), NOW) == (0.5, 0.5)
    assert steer(points, (0.7, 0.3), (0.5, 0.5), NOW) == (0.7, 0.3)
    assert steer(points, (0.705, 0.295), (0.5, 0.5), NOW + 1) == (0.7, 0.3)
    assert points == [TrafficPoint(NOW + NOTICE_MS, [0.7, 0.3])]
    for step in range(MAX_CHANGES + 5):
        steer(points, (0.7, 0.3) if step % 2 else (0.3, 0.7), (0.5, 0.5), NOW + step)
    assert len(points) == MAX_CHANGES
    assert points[-1].from_at == NOW + MAX_CHANGES + 4 + NOTICE_MS


def tally_of(*groups: tuple[Any, ...]) -> Tally:
    """A tally of users who came: variant, how many, the shares where they had moved, and how many each converted."""
    tally = Tally()
    for variant, n, *rest in groups:
        shares, converted = (*rest, *(None, 0.0)[len(rest) :])
        outcome = [[converted, 1.0, 0.0, 1.0]] * len(METRICS)
        tally.add(add_up_changes([Change("e", "d", variant, NOW, None, outcome, (), shares)] * n)[0])
    return tally


def test_the_alarm_expects_the_shares_that_were_in_force_and_not_the_planned_ones():
    # 2,000 users by halves, then 2,000 of whom the second variant gets nine in ten: 1,200 and 2,800 are as they should.
    nine = (0.1, 0.9)
    tally = tally_of(("v0", 1_000), ("v1", 1_000), ("v0", 200, nine), ("v1", 1_800, nine))
    planned = np.array([0.5, 0.5])
    np.testing.assert_allclose(mean_shares(tally, planned), [0.3, 0.7])
    experiment = an_experiment(bandit=TrafficBounds(0.1, 0.9))
    result = look(tally, experiment, "slate")
    assert result.mismatch_p == 1
    assert mismatch_p(np.array([1_200.0, 2_800.0]), planned) < 1e-6  # what a planned half would make of it


def test_the_alarm_still_sees_users_who_are_lost_after_the_shares_moved():
    nine = (0.1, 0.9)
    # Of the 3,600 users that should have come, 3,200 did not.
    tally = tally_of(("v0", 2_000), ("v1", 2_000), ("v0", 400, nine), ("v1", 400, nine))
    assert look(tally, an_experiment(bandit=BANDIT), "slate").verdict == "mismatch"


def test_an_erased_user_is_no_longer_expected():
    shares, outcome = (0.3, 0.7), [[0.0, 1.0, 0.0, 1.0]] * len(METRICS)
    tally = Tally()
    for old, new in ((None, outcome), (outcome, None)):
        tally.add(add_up_changes([Change("e", "d", "v0", NOW, old, new, (), shares)])[0])
    np.testing.assert_allclose(tally.moved, [0, 0])
    assert mean_shares(tally, np.array([0.5, 0.5])).tolist() == [0.5, 0.5]


def test_a_variant_that_gets_nobody_is_no_mismatch_until_it_has_a_user():
    stopped = np.array([0.0, 1.0])
    assert mismatch_p(np.array([[0.0, 900.0], [1.0, 900.0]]), stopped).tolist() == [1, 0]


def test_the_alarm_is_rare_while_a_bandit_moves_the_shares_as_planned():
    rng = np.random.default_rng(1)
    n_alarms = 0
    for _ in range(200):
        counts, expected, lowest = np.zeros(2), np.zeros(2), 1.0
        for _ in range(40):
            share = rng.uniform(0.1, 0.9)
            n_first = rng.binomial(250, share)
            counts += n_first, 250 - n_first
            expected += 250 * share, 250 * (1 - share)
            lowest = min(lowest, float(mismatch_p(counts, expected / expected.sum())))
        n_alarms += lowest <= 0.01
    assert n_alarms <= 2  # 1% of 200, where nothing is wrong


def test_a_stop_moves_all_new_users_and_is_remembered_by_the_tally():
    tally = tally_of(("v0", 1_000), ("v1", 1_000, None, 1.0), ("v0", 100, None, 1.0), ("v1", 100))
    experiment = an_experiment(goal="conversion", stop=True, holdback=0.0)
    result = look(tally, experiment, "slate")
    assert (result.verdict, result.traffic) == ("winner", [TrafficPoint(NOW + NOTICE_MS, [0.0, 1.0])])
    again = look(Tally(tally.pack()), experiment, "slate")
    assert again.traffic == result.traffic
    experiments = Experiments([experiment])
    assert experiments.traffic.take(result) == 0
    assert {experiments.assign(user, NOW + MINUTE).variant for user in USERS[:200]} == {"v1"}
    assert {experiments.assign(user, NOW).variant for user in USERS[:200]} == {"v0", "v1"}


def test_the_bucket_stays_the_published_one():
    assert moved((NOW, [0.2, 0.8])).assign("u-1", NOW).bucket == bucket_of("u-1", "e")


@given(st.lists(st.floats(0.02, 1), min_size=2, max_size=5), st.lists(st.floats(0.02, 1), min_size=2, max_size=5))
def test_weighted_users_of_all_variants_stand_for_the_same_and_none_for_many(some: list[float], others: list[float]):
    n = min(len(some), len(others))
    planned, shares = ([share / sum(raw[:n]) for share in raw[:n]] for raw in (some, others))
    weights = [weight_of(planned, shares, v) for v in range(n)]
    # What is expected of a user who comes: share times weight, by variant in the proportion that is planned.
    expected = np.array([share * weight for share, weight in zip(shares, weights, strict=True)]) / planned
    np.testing.assert_allclose(expected, expected[0])
    assert all(weight <= p * sum(1 / q for q in planned) + 1e-9 for weight, p in zip(weights, planned, strict=True))
    assert weight_of(planned, planned, 0) == pytest.approx(1)


def test_where_a_variant_got_nobody_nothing_can_be_compared():
    assert weight_of([0.5, 0.5], [0.0, 1.0], 1) == 0


def test_a_stop_keeps_its_holdback_among_the_others_as_planned():
    shares = stop_shares(an_experiment(weights=(1, 2, 1), stop=True, holdback=0.06), 1)
    assert shares == pytest.approx((0.03, 0.94, 0.03))
    assert permits(an_experiment(weights=(1, 2, 1), stop=True, holdback=0.06), shares)
