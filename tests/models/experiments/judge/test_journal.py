from math import log2

import pytest

from models.experiments.judge.journal import MAX_SLATES, OutcomeConfig
from tests.models.experiments.observing import DAY, MINUTE, acts, at, counted, is_exposed, is_shown, outcome_of, sees

BY_EVENTS = OutcomeConfig(impressions="event")


def test_an_act_on_a_shown_item_counts_once_of_all_that_were_shown():
    assert counted([is_exposed(), is_shown(1, 1, 2, 3), acts(2, 2), acts(3, 2), acts(4, 9)], "ctr") == [1, 3]


def test_an_act_after_the_attribution_window_does_not_count():
    config = OutcomeConfig(attribution_window_ms=5 * MINUTE)
    assert counted([is_exposed(), is_shown(1, 1), acts(6, 1)], "ctr", config) == [1, 1]
    assert counted([is_exposed(), is_shown(1, 1), acts(6.1, 1)], "ctr", config) == [0, 1]


def test_an_act_counts_for_the_newest_slate_that_showed_the_item():
    config = OutcomeConfig(attribution_window_ms=5 * MINUTE)
    assert counted([is_exposed(), is_shown(0, 1), is_shown(4, 1), acts(8, 1)], "ctr", config) == [1, 2]


def test_an_act_counts_for_the_slate_that_the_platform_names():
    config = OutcomeConfig(attribution_window_ms=5 * MINUTE)
    shown = [is_exposed(), is_shown(0, 1, id=70), is_shown(4, 1, id=80)]
    assert counted([*shown, acts(8, 1, slate=80)], "ctr", config) == [1, 2]
    assert counted([*shown, acts(8, 1, slate=70)], "ctr", config) == [0, 2]


def test_with_impression_events_only_what_was_seen_is_an_impression_and_its_window_begins_there():
    config = OutcomeConfig(attribution_window_ms=5 * MINUTE, impressions="event")
    begun = [is_exposed(), is_shown(1, 1, 2, 3)]
    assert counted([*begun, acts(2, 1)], "ctr", config) == [0, 0]
    assert counted([*begun, sees(8, 1), sees(9, 1), sees(9, 2), acts(10, 1)], "ctr", config) == [1, 2]


def test_an_act_counts_for_the_newest_impression_also_where_it_is_of_an_older_slate():
    slates = [is_exposed(), is_shown(1, 1, id=70, teams=(0,)), is_shown(2, 1, id=80, teams=(1,))]
    seen = [sees(3, 1, slate=80), sees(4, 1, slate=70)]
    assert counted([*slates, *seen, acts(5, 1)], "preference", BY_EVENTS) == [-1, 1]


def test_an_act_at_the_moment_of_a_slate_caused_it_and_is_not_credited_to_it():
    assert counted([is_exposed(), is_shown(2, 1), acts(2, 1)], "ctr") == [0, 1]


def test_impression_events_are_nothing_where_the_slate_is_the_impression():
    assert counted([is_exposed(), is_shown(1, 1, 2), sees(2, 1)], "ctr") == [0, 2]


def test_an_impression_of_something_that_no_slate_showed_is_none():
    assert counted([is_exposed(), is_shown(1, 1), sees(2, 5)], "ctr", BY_EVENTS) == [0, 0]


@pytest.mark.parametrize(("item", "rank"), [(1, 1), (3, 3), (9, 0)])
def test_a_slate_is_judged_by_what_came_next_and_only_by_that(item: int, rank: int):
    outcome = outcome_of([is_exposed(), is_shown(1, 1, 2, 3), acts(2, item), acts(3, 2)])
    assert outcome["hit_rate"][:2] == [float(rank > 0), 1]
    assert outcome["mrr"][:2] == pytest.approx([1 / rank if rank else 0, 1])
    assert outcome["ndcg"][:2] == pytest.approx([1 / log2(1 + rank) if rank else 0, 1])


def test_the_act_that_caused_a_slate_does_not_judge_it():
    assert counted([is_exposed(), acts(2, 1), is_shown(2, 1)], "hit_rate") == [0, 0]


def test_a_goal_converts_a_user_once_and_its_values_add_up():
    outcome = outcome_of([is_exposed(), acts(1, is_goal=True, value=5.0), acts(2, is_goal=True, value=7.0), acts(3)])
    assert outcome["conversion"][:2] == [1, 1]
    assert outcome["value"][:2] == [12, 1]
    assert outcome["activity"][:2] == [3, 1]


def test_ratings_are_averaged_over_ratings():
    observations = [is_exposed(), acts(1, is_rating=True, value=4.0), acts(2, is_rating=True, value=1.0), acts(3)]
    assert counted(observations, "satisfaction") == [5, 2]


@pytest.mark.parametrize(("after", "returned"), [(DAY - 1, 0), (DAY, 1), (7 * DAY, 1), (7 * DAY + 1, 0)])
def test_a_user_has_come_back_between_a_day_and_the_retention_time(after: int, returned: int):
    assert counted([is_exposed(), acts(after / MINUTE)], "retention") == [returned, 1]


def test_the_latency_is_between_the_records_of_the_event_and_its_slate():
    act = acts(1, written_at=1_000)
    assert counted([is_exposed(), act, is_shown(1, trigger=act.id, written_at=1_012)], "latency_ms") == [12, 1]
    assert counted([is_exposed(), act, is_shown(1, trigger=99, written_at=1_012)], "latency_ms") == [0, 0]


def test_novelty_is_averaged_over_shown_items_where_slates_logged_it():
    assert counted([is_exposed(), is_shown(1, 1, 2, novelty=1.2), is_shown(2, 3, 4)], "novelty") == [1.2, 2]


def test_what_was_before_the_exposure_stands_beside_it():
    before = [is_shown(0, 1, 2), acts(1, 1), acts(2, 5, is_goal=True, value=3.0)]
    outcome = outcome_of([*before, is_exposed(3), is_shown(4, 1), acts(5, 1)])
    assert outcome["ctr"] == [1, 1, 1, 2]
    assert outcome["value"] == [0, 1, 3, 1]
    assert outcome["activity"] == [1, 1, 2, 1]


def test_a_slate_from_before_the_exposure_is_not_judged_after_it():
    outcome = outcome_of([is_shown(0, 1), is_exposed(1), acts(2, 1)])
    assert outcome["hit_rate"][:2] == [0, 0]
    assert outcome["ctr"][:2] == [0, 0]


def test_another_experiment_begins_anew_with_the_old_outcomes_as_its_past():
    outcome = outcome_of([is_exposed(), acts(1), acts(2), is_exposed(3, experiment="f"), acts(4)])
    assert outcome["activity"] == [1, 1, 2, 1]


def test_an_experiment_that_is_declared_anew_keeps_the_past_from_before_it():
    # Else what a variant did under the first declaration would be taken out of what it does under the second.
    observations = [acts(0), is_exposed(1), acts(2), acts(3), is_exposed(4, digest="d2"), acts(5)]
    assert outcome_of(observations)["activity"] == [1, 1, 1, 1]


def test_the_same_exposure_again_changes_nothing():
    assert counted([is_exposed(), acts(1), is_exposed(2), acts(3)], "activity") == [2, 1]


def test_only_the_newest_slates_are_remembered():
    slates = [is_shown(minute, minute) for minute in range(1, MAX_SLATES + 2)]
    assert counted([is_exposed(), *slates, acts(30, 1), acts(31, 2)], "ctr") == [1, len(slates)]


def test_in_an_interleaved_slate_a_wanted_item_is_credited_to_who_brought_it():
    slate = is_shown(1, 1, 2, 3, teams=(0, 1, 1))
    assert counted([is_exposed(), slate, acts(2, 2), acts(3, 3), acts(4, 3)], "preference") == [2, 1]
    assert counted([is_exposed(), slate, acts(2, 1), acts(3, 9)], "preference") == [-1, 1]
    assert counted([is_exposed(), is_shown(1, 1), acts(2, 1)], "preference") == [0, 1]


def test_what_the_tables_knew_when_the_slate_was_made_proves_nothing():
    slate = is_shown(1, 1, 2, learned_until=at(2))
    known = outcome_of([is_exposed(), slate, acts(2, 1), acts(3, 2)])
    assert (known["hit_rate"][:2], known["ctr"][:2]) == ([0, 0], [1, 2])
    new = outcome_of([is_exposed(), slate, acts(2.1, 1)])
    assert (new["hit_rate"][:2], new["ctr"][:2]) == ([1, 1], [1, 2])
