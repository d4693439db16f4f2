from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from bytewax.testing import TestingSource, cluster_main

from models.experiments.judge.metrics import METRICS
from models.experiments.judge.user_metrics import MAX_OPEN
from tests.flows.evaluating import (
    FAR_AHEAD,
    NOW,
    SECOND,
    Run,
    a_slate,
    an_assignment,
    an_event,
    many,
    record,
)


def test_what_users_did_with_their_slates_is_counted_by_variant():
    run = Run(
        [an_event(2, item="b"), an_event(2, "u-2", "z")],
        [a_slate(1), a_slate(1, "u-2", "abcd")],
        [an_assignment(), an_assignment("u-2", "treatment")],
    ).run()
    assert run.users == {"control": 1, "treatment": 1}
    assert run.value("ctr") == pytest.approx(1 / 3)
    assert run.value("ctr", "treatment") == 0
    assert run.value("mrr") == 1 / 2
    assert run.value("activity", "treatment") == 1
    assert [variant["coverage"] for variant in run.result["variants"]] == [3, 4]


def test_a_result_names_what_it_was_judged_by():
    result = Run(assignments=[an_assignment()], impressions="event").run().result
    assert (result["goal"], result["impressions"], result["verdict"]) == ("ctr", "event", "running")
    assert [metric["metric"] for metric in result["variants"][0]["metrics"]] == [metric.name for metric in METRICS]


def test_impression_events_count_where_the_settings_say_so():
    seen = an_event(2, item="a", event_type="impression")
    arguments = ([seen, an_event(3, item="a")], [a_slate(1)], [an_assignment()])
    assert Run(*arguments, impressions="event").run().value("ctr") == 1
    assert Run(*arguments).run().value("ctr") == pytest.approx(1 / 3)


def test_goals_and_ratings_follow_the_settings_of_events():
    events = [an_event(1, event_type="purchase", value=20.0), an_event(2, event_type="rating", value=4.0)]
    run = Run(events, [], [an_assignment()]).run()
    assert (run.value("conversion"), run.value("value"), run.value("satisfaction")) == (1, 20, 4)


def test_dislikes_and_events_without_consent_leave_no_trace():
    events = [an_event(1, event_type="dislike"), an_event(2, consent=False)]
    run = Run(events, [a_slate(0)], [an_assignment()]).run()
    assert run.value("activity") == 0
    assert run.counts == {"no_consent": 1}


def test_what_cannot_be_read_is_counted_and_a_bad_assignment_is_a_dead_letter():
    bad = record(7, "u-1", {"half": True})
    run = Run([bad], [bad], [an_assignment(), bad]).run()
    assert run.counts == {"missing_field": 2}
    [(key, letter)] = run.letters
    assert key == "assignments/0/7"
    assert letter.value is not None
    assert orjson.loads(letter.value)["reason"] == "missing_field"
    assert run.users["control"] == 1


def test_late_and_repeated_observations_are_counted():
    events = [*(an_event(second) for second in range(10, 20 + MAX_OPEN)), an_event(50), an_event(5)]
    run = Run(events, [], [an_assignment(second=1)]).run()
    assert run.counts == {"repeated": 1, "late": 1}


def test_the_topics_may_be_read_in_any_order():
    whole = Run(*many()).run().result
    for batch_size in (1, 7, 1_000):
        assert Run(*many(), batch_size=batch_size).run().result == whole


def test_two_workers_find_the_same():
    one, two = Run(*many()).run(), Run(*many())
    cluster_main(two.flow(), [], 0, epoch_interval=timedelta(0), worker_count_per_proc=2)
    assert two.result == one.result


def test_an_erased_user_is_taken_out(tmp_path: Path):
    gone = record(50, "u-1", {"erasure_id": "x-1", "user_id": "u-1", "requested_at": NOW + 50 * SECOND})
    events, slates = [an_event(2, item="b"), an_event(2, "u-2", "z")], [a_slate(1), a_slate(1, "u-2")]
    assignments = [an_assignment(), an_assignment("u-2")]
    run = Run(events, slates, assignments, store=tmp_path / "store", erasures=[TestingSource.EOF(), gone]).run()
    assert (run.users["control"], run.value("ctr")) == (2, pytest.approx(1 / 6))
    run.run()
    assert (run.users["control"], run.value("ctr")) == (1, 0)
    [(_, receipt)] = run.receipts
    part = orjson.loads(receipt.value or b"")
    assert (part["place"], part["before"], part["after"]) == ("evaluate.outcomes", 3, 0)


def test_what_is_older_than_an_erasure_is_neither_judged_nor_counted(tmp_path: Path):
    """Finding 10: a lost store, or a lag, counted an erased user again."""
    gone = record(50, "u-1", {"erasure_id": "x-1", "user_id": "u-1", "requested_at": NOW + 50 * SECOND})
    stop = TestingSource.EOF()
    again = [[stop, an_event(2, item="b")], [stop, a_slate(1)], [stop, an_assignment(), an_assignment("u-2")], [gone]]
    run = Run(*again[:3], store=tmp_path / "store", erasures=again[3]).run().run()
    assert run.users["control"] == 1
    assert run.counts["before_erasure"] == 3


def test_users_of_another_declaration_are_counted_and_not_published():
    run = Run([], [], [an_assignment(digest="older"), an_assignment("u-2")]).run()
    assert run.users["control"] == 1
    assert run.counts == {"undeclared": 1}


def test_changes_within_the_publishing_time_are_published_once():
    assert len(Run(*many(), now=FAR_AHEAD).run().written) == 1


def test_looks_are_remembered_in_the_result():
    run = Run(*many()).run()
    newest = orjson.loads(run.written[-1][1].value or b"")
    assert len(newest["history"]) == len(run.written) > 1
    users = [point["users"] for point in newest["history"]]
    assert users == sorted(users)


@pytest.mark.parametrize(
    "fields",
    [
        {"shares": [1.0]},
        {"shares": [0.2, 0.3, 0.5]},
        {"assigned_at": 2**63},
        {"assigned_at": 2**64 - 1},
        {"assigned_at": -1},
    ],
)
def test_an_assignment_out_of_bounds_is_a_dead_letter_and_the_flow_goes_on(fields: dict[str, object]):
    """Shares of another length, or a time that no state can hold, ended the flow at every start."""
    assignments = [an_assignment(shares=[0.4, 0.6]), an_assignment("u-3", second=1, **fields), an_assignment("u-2")]
    run = Run(assignments=assignments).run()
    assert [key for key, _ in run.letters] == ["assignments/0/1"]
    assert run.users == {"control": 2, "treatment": 0}


def test_shares_of_any_length_in_an_experiment_that_is_not_declared_do_not_end_the_flow():
    strange = [an_assignment(f"u-{n}", digest="other", shares=[1 / n] * n) for n in (2, 3)]
    assert Run(assignments=[*strange, an_assignment("u-9")]).run().users["control"] == 1


@pytest.mark.parametrize("created_at", [2**63, 2**64 - 1, -1])
def test_a_slate_of_a_time_that_no_state_can_hold_is_counted_and_left_out(created_at: int):
    run = Run([an_event(2)], [a_slate(1, created_at=created_at)], [an_assignment()]).run()
    assert run.counts.total() == 1
