from dataclasses import replace

import numpy as np
import pytest

from models.names import SOURCES
from models.offline.policy.evaluate import evaluate_policy
from models.offline.policy.target import TargetPolicy
from tests.models.builders import a_strategy
from tests.models.offline.policy.audience import (
    AS_LOGGED,
    BY_TASTE,
    EXAMINED,
    LENGTH,
    LOGGING,
    TABLE,
    Audience,
    ByTaste,
    missed_by,
)


def assert_honest(missed: dict[str, list[float]]) -> None:
    for name, errors in missed.items():
        n = len(errors)
        outside = sum(abs(error) > 1.96 for error in errors)
        assert outside <= 0.05 * n + 3 * np.sqrt(0.0475 * n), (name, outside)
        assert abs(np.mean(errors)) < 3.5 / np.sqrt(n), (name, np.mean(errors))


def test_intervals_hold_the_known_value_of_a_strategy_that_ranks_diversifies_caps_swaps_and_explores():
    assert_honest(missed_by("position", BY_TASTE, ByTaste(), n=600, n_logs=12))


def test_where_it_is_known_how_far_users_look_an_item_tells_of_every_place():
    assert_honest(missed_by("examination", BY_TASTE, ByTaste(), n=600, n_logs=12))


def test_self_normalised_weights_have_the_mean_1_where_examination_is_known():
    """Of slates as of items that stand first alone: their weights are far from 1 at each place by itself."""
    steep = np.array([1.0, 0.2, 0.1, 0.05])
    rounds = list(Audience(4_000, 11).rounds())
    found = evaluate_policy(rounds, TargetPolicy(AS_LOGGED, "logged", TABLE), "examination", examination=steep)
    assert found.mean_weight == pytest.approx(1, abs=0.05)
    everything = [replace(one, rewards=np.ones(len(one.rewards))) for one in rounds]
    acted = evaluate_policy(everything, TargetPolicy(BY_TASTE, "logged", TABLE), "examination", examination=np.ones(1))
    assert acted.estimates["snips"].value == pytest.approx(LENGTH)


def test_how_far_users_look_has_to_be_known_for_that():
    rounds, target = list(Audience(8, 8).rounds()), TargetPolicy(BY_TASTE, "logged", TABLE)
    for known, told in (
        (None, "how far users look"),
        (np.array([1.0, 0.0]), "above 0"),
        (np.array([1.2]), "at most 1"),
    ):
        with pytest.raises(ValueError, match=told):
            evaluate_policy(rounds, target, "examination", examination=known)
    briefly = evaluate_policy(rounds, target, "examination", examination=np.array([1.0, 0.5]))
    spelled_out = evaluate_policy(rounds, target, "examination", examination=np.array([1.0, 0.5, 0.5, 0.5]))
    assert briefly == spelled_out


def test_where_users_stop_looking_after_an_act_what_stands_above_has_to_be_looked_at_as_well():
    assert_honest(missed_by("cascade", AS_LOGGED, "logged", n=1_200, n_logs=12, cascade=True))


def test_each_assumption_needs_more_slates_than_the_one_before_it_and_a_model_helps():
    rounds, target = list(Audience(1_200, 5).rounds()), TargetPolicy(replace(BY_TASTE, n_items=3), ByTaste(), TABLE)
    found = {
        by: evaluate_policy(rounds, target, by, examination=EXAMINED)
        for by in ("examination", "position", "cascade", "slate")
    }
    worth = [figures.estimates["ips"].n_effective for figures in found.values()]
    assert worth == sorted(worth, reverse=True)
    assert found["position"].estimates["dr"].error < found["position"].estimates["ips"].error
    assert found["position"].mean_weight == pytest.approx(1, abs=0.15)


def test_the_strategy_that_drew_the_log_is_worth_what_the_log_says():
    rounds = list(Audience(800, 6).rounds())
    everywhere = replace(LOGGING, exploration_slots=LENGTH)
    found = evaluate_policy(rounds, TargetPolicy(everywhere, "logged", TABLE))
    for estimate in found.estimates.values():
        assert abs(estimate.value - found.drawn.value) < 3 * estimate.error


def test_the_order_of_the_sources_weights_is_the_features_weighted_sum():
    rounds = list(Audience(400, 7).rounds())
    by_weights = evaluate_policy(rounds, TargetPolicy(BY_TASTE, "blend", TABLE))
    by_ranker = evaluate_policy(rounds, TargetPolicy(BY_TASTE, ByTaste(), TABLE))
    assert by_weights.estimates["ips"].value == pytest.approx(by_ranker.estimates["ips"].value)


def test_a_strategy_that_asks_for_what_nobody_looked_for_is_refused():
    [one, *others] = Audience(8, 8).rounds()
    pool = one.slate.sampled_from
    assert pool is not None
    known = [source for source in SOURCES if source != "content"]
    poor = replace(one, slate=replace(one.slate, sampled_from=replace(pool, sources=known)))
    target = TargetPolicy(a_strategy(sources={"content": 1.0}), "blend", TABLE)
    with pytest.raises(ValueError, match="content had no weight"):
        evaluate_policy([poor], target)
    assert evaluate_policy([poor, *others], target).n_left_out == 1


def test_where_a_variant_did_not_look_its_slates_are_no_yardstick_either():
    of_variant = [
        [replace(one, slate=replace(one.slate, experiment="e", variant=variant)) for one in Audience(60, seed).rounds()]
        for seed, variant in ((8, "all"), (9, "some"))
    ]
    all_sources, some = of_variant
    known = [source for source in SOURCES if source != "content"]
    without = [replace(one, slate=replace(one.slate, sampled_from=replace(pool, sources=known)))
               for one in some if (pool := one.slate.sampled_from)]  # fmt: skip
    served = [
        replace(one, slate=replace(one.slate, sampled_from=None), rewards=one.rewards * 0 + reward)
        for rounds, reward in ((all_sources, 1.0), (some, 9.0)) for one in rounds
    ]  # fmt: skip
    target = TargetPolicy(a_strategy(sources={"content": 1.0}), "blend", TABLE)
    found = evaluate_policy([*all_sources, *without, *served], target)
    assert found.n_left_out == len(without)
    assert found.served is not None
    assert found.served.value == pytest.approx(np.mean([len(one.rewards) for one in all_sources]))
    alone = evaluate_policy(all_sources, target)
    assert found.estimates["dr"].value == alone.estimates["dr"].value


def test_a_log_without_slates_that_were_drawn_as_a_whole_says_how_to_get_some():
    with pytest.raises(ValueError, match="EDDY_STRATEGY__SAMPLED"):
        evaluate_policy([], TargetPolicy(BY_TASTE, "blend", TABLE))


def test_what_was_not_drawn_is_the_yardstick():
    drawn = list(Audience(40, 9).rounds())
    served = [replace(one, slate=replace(one.slate, sampled_from=None), rewards=one.rewards + 1) for one in drawn]
    found = evaluate_policy([*drawn, *served], TargetPolicy(BY_TASTE, "blend", TABLE))
    assert found.served is not None
    assert found.served.value == pytest.approx(found.drawn.value + LENGTH)
