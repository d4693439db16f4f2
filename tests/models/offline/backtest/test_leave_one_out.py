"""The leave-one-out protocol on pasts so small that the popularity and own-items rows can be counted by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.messages import Event
from models.names import FEATURES
from models.offline.backtest import leave_one_out, memory
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.last_acts import leave_last_two_out
from models.offline.backtest.leave_one_out import backtest_leave_one_out
from models.offline.backtest.outcomes import Outcomes
from models.offline.backtest.report import report
from models.offline.seen import LEARNED, sample_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.networks import new_network
from models.sequence.config import SequenceTraining
from models.strategy import Strategy
from tests.models.offline.builders import an_event

QUICK = BacktestConfig(k=3, n_timed=2, trains_sequence=False)
WITHIN = Strategy(sources={"sequential_rules": 1.0, "covisitation": 0.5})
"""Goes by what happens within a session alone."""
DAY = 86_400


def acts(user: str, *items: str, start: int = 0, **changes: Any) -> list[Event]:
    """Clicks a day apart."""
    return [
        replace(an_event(start + n * DAY, user, item, **changes), event_id=f"{user}-{start}-{n}")
        for n, item in enumerate(items)
    ]


def in_time_order(*pasts: list[Event]) -> list[Event]:
    return sorted((event for past in pasts for event in past), key=lambda event: event.timestamp)


def judged(events: list[Event], config: BacktestConfig = QUICK, strategy: Strategy = WITHIN) -> Outcomes:
    return backtest_leave_one_out(events, [], strategy, config, iter(range(10_000)).__next__, lambda *_: None)


def items_of(steps: list[Any]) -> list[str]:
    return [step.event.item_id for step in steps]


def test_the_last_act_tests_the_one_before_it_validates_and_the_rest_trains():
    events = in_time_order(
        acts("u", "a", "b", "c", "d"), acts("v", "e", "f", start=7), acts("w", "g", "h", "i", start=9)
    )
    train, left_out = leave_last_two_out(events, QUICK)
    assert items_of(train) == ["a", "e", "g", "b", "f"]
    assert [(items_of(own.validation), items_of(own.test)) for own in left_out] == [(["c"], ["d"]), (["h"], ["i"])]


def test_of_acts_at_one_time_the_later_one_in_the_file_is_the_later_one():
    events = [an_event(n, "u", item, timestamp=5) for n, item in enumerate("abc")]
    [own] = leave_last_two_out(events, QUICK).left_out
    assert (items_of(own.validation), items_of(own.test)) == (["b"], ["c"])


def test_what_is_no_act_goes_with_the_act_that_follows_and_is_no_target():
    kinds = ("click", "impression", "click", "dislike", "click", "impression", "click", "impression")
    events = [an_event(n, "u", f"i-{n}", event_type=kind) for n, kind in enumerate(kinds)]
    train, [own] = leave_last_two_out(events, QUICK)
    assert items_of(train) == ["i-0", "i-1", "i-2"]
    assert items_of(own.validation) == ["i-3", "i-4"]
    assert items_of(own.test) == ["i-5", "i-6"]


def test_acts_without_consent_are_left_out_of_the_count():
    silent = [replace(event, consent=False) for event in acts("u", "x", "y", start=1)]
    train, left_out = leave_last_two_out(in_time_order(acts("u", "a", "b"), silent), QUICK)
    assert (len(train), left_out) == (4, [])


PAST = in_time_order(
    acts("u", "a", "b", "a"),
    acts("v", "a", "c", "b", "d", start=1),
    acts("w", "b", "b", "e", "b", start=2),
    acts("x", "c", "b", start=3),
)
"""Trained on are a of u; a, c of v; b, b of w; c, b of x: b 3 times, a 2, c 2."""


def test_nothing_is_learned_of_the_last_two_acts():
    outcomes = judged(PAST)
    assert [target.item_id for target in outcomes.targets] == ["a", "d", "b"]
    # a ties with c, which counts against it; nobody was trained on d
    assert outcomes.ranks("popularity").tolist() == [3, 0, 1]
    assert outcomes.validation is not None
    assert [target.item_id for target in outcomes.validation.targets] == ["b", "b", "e"]
    assert outcomes.validation.ranks("popularity").tolist() == [1, 1, 0]


def test_at_the_test_the_history_holds_the_second_last_act():
    outcomes = judged(PAST)
    # b stands before a, since it was the act before; w went from b over e, which no table knows, to b
    assert outcomes.ranks("own_items").tolist() == [2, 0, 1]
    assert [target.n_earlier for target in outcomes.targets] == [2, 3, 3]
    assert outcomes.validation is not None
    assert outcomes.validation.ranks("own_items").tolist() == [0, 0, 0]


def test_what_was_seen_may_be_left_out():
    outcomes = judged(PAST, replace(QUICK, exclude_seen=True))
    assert outcomes.ranks("own_items").tolist() == [0, 0, 0]
    assert outcomes.ranks("popularity").tolist() == [0, 0, 0]


def test_each_target_is_asked_for_as_of_its_own_time():
    outcomes = judged(PAST)
    assert [target.at for target in outcomes.targets] == [
        max(event.timestamp for event in PAST if event.user_id == user) for user in "uvw"
    ]


def test_targets_that_no_row_can_win_are_counted():
    figures = report(judged(PAST), "leave-one-out", 3, "eddy")
    # d comes in no training act
    assert figures["unwinnable"] == pytest.approx(1 / 3, abs=1e-6)
    assert figures["models"]["popularity"]["candidate_recall"] == pytest.approx(2 / 3, abs=1e-6)
    assert figures["chosen"]["by"]["n"] == 3
    assert figures["chosen"]["by"]["models"]["popularity"]["hr"] == pytest.approx(2 / 3, abs=1e-6)


def pairs_days_apart(n_users: int) -> list[Event]:
    """Users who go through a ring of eight items, a day for each act, and come one after another for a year."""
    ring = "abcdefgh"
    return in_time_order(
        *(
            acts(f"u-{n}", *(ring[(n + step) % 8] for step in range(5)), start=n * (365 * DAY // n_users))
            for n in range(n_users)
        )
    )


def test_where_acts_are_days_apart_a_users_whole_past_is_remembered_as_one_session():
    past = pairs_days_apart(80)
    outcomes = judged(past, replace(QUICK, k=1))
    assert outcomes.chosen["memory"] == "lifelong"
    assert outcomes.ranks("sequential_rules").tolist() == [1] * 80
    # The first users come a year before the tables end; every figure stays finite.
    for name, record in outcomes.records.items():
        assert np.isfinite(np.concatenate(record.novelty)).all(), name


def test_what_people_come_to_days_later_needs_no_other_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leave_one_out, "MEMORIES", ("as_set",))
    outcomes = judged(pairs_days_apart(80), replace(QUICK, k=1), Strategy(sources={"habits": 1.0}))
    assert outcomes.chosen["memory"] == "as_set"
    assert np.mean(outcomes.ranks("habits") == 1) > 0.8


def test_of_many_second_last_acts_evenly_spread_ones_choose(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "MAX_CHOSEN_BY", 30)
    outcomes = judged(pairs_days_apart(80))
    assert outcomes.validation is not None
    assert len(outcomes.validation.targets) == 27  # each third
    assert len(outcomes.targets) == 80


def test_a_lifelong_memory_has_habits_too():
    outcomes = judged(pairs_days_apart(80), replace(QUICK, k=1))
    assert outcomes.chosen["memory"] == "lifelong"
    assert np.mean(outcomes.ranks("habits") == 1) > 0.8


def test_a_sequence_model_is_trained_where_enough_can_judge_it():
    config = replace(QUICK, k=1, trains_sequence=True, sequence=SequenceTraining(max_epochs=25, learning_rate=1e-2))
    outcomes = judged(pairs_days_apart(160), config)
    assert np.mean(outcomes.ranks("sequence") == 1) > 0.8
    assert (judged(pairs_days_apart(20), config).ranks("sequence") == 0).all()


def test_where_nothing_tells_them_apart_the_memory_stays_as_it_is_set():
    assert judged(acts("u", "a", "b", "c")).chosen == {
        "memory": "as_set", "sources": "as_set", "ranker": "blend",
    }  # fmt: skip


def test_session_ids_do_not_part_a_lifelong_memory():
    past = [replace(event, session_id=event.event_id) for event in pairs_days_apart(80)]
    assert judged(past, replace(QUICK, k=1)).chosen["memory"] == "lifelong"


def test_nobody_with_three_acts_is_refused():
    with pytest.raises(ValueError, match="nobody has 3 acts"):
        judged(in_time_order(acts("u", "a", "b"), acts("v", "a")))


def a_checkpoint(provenance: dict[str, Any]) -> Checkpoint:
    return Checkpoint(new_network("mlp", len(FEATURES), seed=3), "mlp-1", "", provenance)


def test_a_checkpoint_that_has_learned_a_last_act_is_refused_and_one_that_has_not_is_judged():
    trained_on, left_out = leave_last_two_out(PAST, QUICK)
    unseen = a_checkpoint({LEARNED: sample_of([step.event for step in trained_on])})
    assert judged(PAST, replace(QUICK, checkpoint=unseen)).chosen["ranker"] == "mlp"
    seen = a_checkpoint({LEARNED: sample_of([left_out[0].test[-1].event])})
    with pytest.raises(ValueError, match="mlp-1 has learned acts"):
        judged(PAST, replace(QUICK, checkpoint=seen))
