from math import log2

import pytest

from models.config import OutcomeConfig
from models.experiments.judge.journal import MAX_SLATES, Journal
from models.experiments.judge.metrics import INDEX_OF
from models.experiments.judge.observations import Act, Exposure, Observation, SlateSent
from models.experiments.judge.user_metrics import UserMetrics
from tests.models.experiments.observing import (
    DAY,
    MINUTE,
    acts,
    at,
    changes_of,
    counted,
    is_exposed,
    is_shown,
    metrics_of,
    sees,
)


def test_an_act_on_a_shown_item_counts_once_of_all_that_were_shown():
    assert counted([is_exposed(), is_shown(1, 1, 2, 3), acts(2, 2), acts(3, 2), acts(4, 9)], "ctr") == [1, 3]


def test_an_act_after_the_attribution_window_does_not_count():
    config = OutcomeConfig(attribution_window_s=300)
    assert counted([is_exposed(), is_shown(1, 1), acts(6, 1)], "ctr", config) == [1, 1]
    assert counted([is_exposed(), is_shown(1, 1), acts(6.1, 1)], "ctr", config) == [0, 1]


def test_an_act_counts_for_the_newest_slate_that_showed_the_item():
    config = OutcomeConfig(attribution_window_s=300)
    assert counted([is_exposed(), is_shown(0, 1), is_shown(4, 1), acts(8, 1)], "ctr", config) == [1, 2]


def test_an_act_counts_for_the_slate_that_the_platform_names():
    config = OutcomeConfig(attribution_window_s=300)
    shown = [is_exposed(), is_shown(0, 1, id=70), is_shown(4, 1, id=80)]
    assert counted([*shown, acts(8, 1, slate=80)], "ctr", config) == [1, 2]
    assert counted([*shown, acts(8, 1, slate=70)], "ctr", config) == [0, 2]


def test_with_impression_events_only_what_was_seen_counts_as_shown_and_the_window_starts_there():
    config = OutcomeConfig(attribution_window_s=300)
    begun = [is_exposed(), is_shown(1, 1, 2, 3)]
    assert counted([*begun, acts(2, 1)], "ctr", config, "event") == [0, 0]
    assert counted([*begun, sees(8, 1), sees(9, 1), sees(9, 2), acts(10, 1)], "ctr", config, "event") == [1, 2]


def test_an_act_counts_for_the_newest_impression_also_where_it_is_of_an_older_slate():
    slates = [is_exposed(), is_shown(1, 1, id=70, teams=(0,)), is_shown(2, 1, id=80, teams=(1,))]
    seen = [sees(3, 1, slate=80), sees(4, 1, slate=70)]
    assert counted([*slates, *seen, acts(5, 1)], "preference", impressions="event") == [-1, 1]


def test_an_act_at_the_moment_of_a_slate_caused_it_and_is_not_credited_to_it():
    assert counted([is_exposed(), is_shown(2, 1), acts(2, 1)], "ctr") == [0, 1]


def test_impression_events_are_ignored_where_the_slate_is_the_impression():
    assert counted([is_exposed(), is_shown(1, 1, 2), sees(2, 1)], "ctr") == [0, 2]


def test_an_impression_of_an_item_on_no_slate_is_ignored():
    assert counted([is_exposed(), is_shown(1, 1), sees(2, 5)], "ctr", impressions="event") == [0, 0]


@pytest.mark.parametrize(("item", "rank"), [(1, 1), (3, 3), (9, 0)])
def test_a_slate_is_judged_by_what_came_next_and_only_by_that(item: int, rank: int):
    found = metrics_of([is_exposed(), is_shown(1, 1, 2, 3), acts(2, item), acts(3, 2)])
    assert found["hit_rate"][:2] == [float(rank > 0), 1]
    assert found["mrr"][:2] == pytest.approx([1 / rank if rank else 0, 1])
    assert found["ndcg"][:2] == pytest.approx([1 / log2(1 + rank) if rank else 0, 1])


def test_the_act_that_caused_a_slate_does_not_judge_it():
    assert counted([is_exposed(), acts(2, 1), is_shown(2, 1)], "hit_rate") == [0, 0]


def test_a_goal_converts_a_user_once_and_its_values_add_up():
    found = metrics_of([is_exposed(), acts(1, is_goal=True, value=5.0), acts(2, is_goal=True, value=7.0), acts(3)])
    assert found["conversion"][:2] == [1, 1]
    assert found["value"][:2] == [12, 1]
    assert found["activity"][:2] == [3, 1]


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


def test_metrics_from_before_the_exposure_are_kept_beside_those_since():
    before = [is_shown(0, 1, 2), acts(1, 1), acts(2, 5, is_goal=True, value=3.0)]
    found = metrics_of([*before, is_exposed(3), is_shown(4, 1), acts(5, 1)])
    assert found["ctr"] == [1, 1, 1, 2]
    assert found["value"] == [0, 1, 3, 1]
    assert found["activity"] == [1, 1, 2, 1]


def test_a_slate_from_before_the_exposure_is_not_judged_after_it():
    found = metrics_of([is_shown(0, 1), is_exposed(1), acts(2, 1)])
    assert found["hit_rate"][:2] == [0, 0]
    assert found["ctr"][:2] == [0, 0]


def test_another_experiment_starts_from_zero_with_the_old_metrics_as_its_past():
    found = metrics_of([is_exposed(), acts(1), acts(2), is_exposed(3, experiment="f"), acts(4)])
    assert found["activity"] == [1, 1, 2, 1]


def test_an_experiment_that_is_declared_again_keeps_the_past_from_before_it():
    # Else what a variant did under the first declaration would be taken out of what it does under the second.
    observations = [acts(0), is_exposed(1), acts(2), acts(3), is_exposed(4, digest="d2"), acts(5)]
    assert metrics_of(observations)["activity"] == [1, 1, 1, 1]


def test_the_same_exposure_again_changes_nothing():
    assert counted([is_exposed(), acts(1), is_exposed(2), acts(3)], "activity") == [2, 1]


def test_only_the_newest_slates_are_remembered():
    slates = [is_shown(minute, minute) for minute in range(1, MAX_SLATES + 2)]
    assert counted([is_exposed(), *slates, acts(30, 1), acts(31, 2)], "ctr") == [1, len(slates)]


def test_in_an_interleaved_slate_an_act_is_credited_to_the_ranking_that_brought_the_item():
    slate = is_shown(1, 1, 2, 3, teams=(0, 1, 1))
    assert counted([is_exposed(), slate, acts(2, 2), acts(3, 3), acts(4, 3)], "preference") == [2, 1]
    assert counted([is_exposed(), slate, acts(2, 1), acts(3, 9)], "preference") == [-1, 1]
    assert counted([is_exposed(), is_shown(1, 1), acts(2, 1)], "preference") == [0, 1]


def test_an_act_that_the_tables_knew_when_the_slate_was_made_does_not_count():
    slate = is_shown(1, 1, 2, learned_until=at(2))
    known = metrics_of([is_exposed(), slate, acts(2, 1), acts(3, 2)])
    assert (known["hit_rate"][:2], known["ctr"][:2]) == ([0, 0], [1, 2])
    new = metrics_of([is_exposed(), slate, acts(2.1, 1)])
    assert (new["hit_rate"][:2], new["ctr"][:2]) == ([1, 1], [1, 2])


def an_aged(age_ms: int) -> Exposure:
    return Exposure(at(0), "e", "d", "control", age_ms=age_ms)


def test_what_is_done_after_the_age_at_which_a_user_is_judged_does_not_count():
    observations = [is_shown(1, 1, 2), acts(2, 1), acts(5, 2, is_goal=True), acts(5.1, 2), is_shown(6, 3), acts(7, 3)]
    found = metrics_of([an_aged(5 * MINUTE), *observations])
    assert (found["activity"][:2], found["conversion"][:2], found["ctr"][:2]) == ([2, 1], [1, 1], [2, 2])
    assert metrics_of([an_aged(0), *observations])["activity"][:2] == [4, 1]


def test_another_exposure_begins_anew_after_the_age_of_the_last():
    later = is_exposed(20, experiment="f")
    assert metrics_of([an_aged(5 * MINUTE), acts(2), acts(9), later, acts(21)])["activity"] == [1, 1, 1, 1]


@pytest.mark.parametrize(("age_ms", "due_at"), [(0, 0), (8_000, 1_700_000_008_000)])
def test_users_are_due_in_groups_no_sooner_than_at_their_age(age_ms: int, due_at: int):
    assert an_aged(age_ms).due_at == due_at
    late = Exposure(at(0) + 1, "e", "d", "control", age_ms=8_000)
    assert late.due_at == at(0) + 9_000


def test_slates_are_counted_by_the_version_that_made_them():
    slates = [is_shown(1, 1, 2, models=("mlp-1",)), acts(2, 2), is_shown(3, 3, models=("mlp-2",)), acts(4, 9)]
    change = changes_of([is_exposed(), *slates])
    total: dict[str, list[int]] = {}
    for one in change:
        for model, counts in one.versions.items():
            total[model] = [a + b for a, b in zip(total.get(model, [0] * 5), counts, strict=True)]
    assert total == {"mlp-1": [1, 2, 1, 1, 1], "mlp-2": [1, 1, 0, 1, 0]}


def test_in_an_interleaved_slate_each_version_is_counted_with_its_own_items():
    slate = is_shown(1, 1, 2, 3, teams=(0, 1, 1), models=("mlp-1", "blend"))
    versions = changes_of([is_exposed(), slate, acts(2, 3)])
    assert versions[1].versions == {"mlp-1": [1, 1, 0, 0, 0], "blend": [1, 2, 0, 0, 0]}
    assert versions[2].versions == {"mlp-1": [0, 0, 0, 1, 0], "blend": [0, 0, 1, 1, 1]}


def clicks_and_impressions(*observations: Observation, counts_after_s: float = 2) -> list[float]:
    user = UserMetrics(OutcomeConfig(), "slate", counts_after_ms=round(1_000 * counts_after_s))
    user.observe([is_exposed(), *observations])
    change = user.change([])
    assert change is not None
    assert change.new is not None
    return change.new[INDEX_OF["ctr"]][:2]


SECOND = 1 / 60


def test_slates_that_were_replaced_at_once_are_no_impressions_however_active_the_user():
    shown = [is_shown(second * SECOND, 1, 2, id=second + 1) for second in range(5)]
    assert clicks_and_impressions(*shown, acts(1, 2)) == [1, 2]
    assert clicks_and_impressions(*shown, acts(1, 2), counts_after_s=0) == [1, 10]


def test_an_act_that_names_a_replaced_slate_says_that_it_was_seen():
    shown = [is_shown(0, 1, 2, id=70), is_shown(SECOND, 3, 4, id=80)]
    assert clicks_and_impressions(*shown, acts(1, 1, slate=70)) == [1, 4]
    assert clicks_and_impressions(*shown, acts(1, 1)) == [0, 2]


def test_a_slate_that_was_acted_on_at_once_is_not_superseded():
    shown = [is_shown(0, 1, 2, id=70), acts(0.5 * SECOND, 1), is_shown(SECOND, 3, 4, id=80)]
    assert clicks_and_impressions(*shown) == [1, 4]


def test_two_places_on_one_page_do_not_take_each_others_impressions():
    journal = Journal(exposed=Exposure(0, "x", "d", "control"))
    shown = [
        SlateSent(10_000, 1, 0, (10, 11, 12), placement="home"),
        SlateSent(10_100, 2, 0, (20, 21), placement="cart"),
    ]
    for slate in shown:
        journal.apply(slate, OutcomeConfig(), "slate", counts_after_ms=1_000)
    assert journal.during[INDEX_OF["ctr"]] == [0, 5]
    journal.apply(SlateSent(10_200, 3, 0, (30,), placement="home"), OutcomeConfig(), "slate", counts_after_ms=1_000)
    assert journal.during[INDEX_OF["ctr"]] == [0, 3]  # the first of its own place was replaced, the cart's was not


@pytest.mark.parametrize(
    ("name", "bucket", "keeps"), [("x", 0.1, True), ("y", 0.25, True), ("y", 0.1, False), ("y", -1.0, False)]
)
def test_what_the_same_salt_did_to_a_user_is_no_past_of_another_experiment(name: str, bucket: float, keeps: bool):
    journal, first = Journal(), 0.25 if bucket >= 0 else -1.0
    for observation in (
        Act(1, 1, 5),
        Exposure(2, "x", "d", "treatment", bucket=first),
        Act(3, 2, 5),
        Act(4, 3, 5),
        Exposure(5, name, "d2", "treatment", bucket=bucket),
    ):
        journal.apply(observation, OutcomeConfig(), "slate")
    assert journal.before[INDEX_OF["activity"]][0] == (1 if keeps else 2)
