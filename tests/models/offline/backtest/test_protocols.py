"""Both protocols on pasts so small that every figure of the popularity row can be counted by hand."""

from dataclasses import replace
from typing import Any

import pytest

from models.config import ProfileConfig
from models.events import EventConfig
from models.messages import Event, Item
from models.names import FEATURES
from models.numeric.ids import hash64
from models.numeric.windows import SessionWindows
from models.offline.backtest.config import BacktestConfig
from models.offline.backtest.outcomes import Outcomes
from models.offline.backtest.prequential import backtest_prequential
from models.offline.backtest.report import report
from models.offline.backtest.session_protocol import backtest_sessions
from models.offline.backtest.sessions import collapse_repeats, sessions_of
from models.offline.seen import LEARNED, sample_of
from models.rankers.checkpoint import Checkpoint
from models.rankers.networks import new_network
from models.strategy import Strategy
from tests.models.offline.builders import an_event

QUICK = BacktestConfig(k=3, n_timed=2, learn_every=1)


def of_session(start: int, session: str, *items: str, **changes: Any) -> list[Event]:
    """Clicks one second apart."""
    return [an_event(start + n, f"u-{session}", item, session_id=session, **changes) for n, item in enumerate(items)]


TRAIN = [
    *of_session(0, "s1", "a", "b", "c"),
    *of_session(10, "s2", "a", "b"),
    *of_session(20, "s3", "a"),
]


def sessions(train: list[Event], test: list[Event], config: BacktestConfig = QUICK) -> Outcomes:
    return backtest_sessions(train, test, [], Strategy(), config, iter(range(10_000)).__next__, lambda *_: None)


def prequential(events: list[Event], **changes: Any) -> Outcomes:
    config = replace(QUICK, warmup=0.0, **changes)
    return backtest_prequential(events, [], Strategy(), config, iter(range(10_000)).__next__, lambda *_: None)


def test_each_act_of_a_session_but_its_first_is_predicted():
    test = [*of_session(100, "t1", "b", "a", "c"), *of_session(200, "t2", "a"), *of_session(300, "t3", "c", "a")]
    outcomes = sessions(TRAIN, test)
    assert [(target.item_id, target.n_earlier) for target in outcomes.targets] == [("a", 1), ("c", 2), ("a", 1)]
    # a stands 3 times, b 2, c 1; the item that the user is on is never recommended
    assert outcomes.ranks("popularity").tolist() == [1, 2, 1]


def test_nothing_is_learned_from_the_test():
    test = of_session(100, "t1", *"bcbcbcbc")
    again = [replace(event, event_id=f"again-{event.event_id}", session_id="t2", user_id="t2") for event in test]
    alone, twice = sessions(TRAIN, test), sessions(TRAIN, [*test, *again])
    for name in alone.records:
        assert twice.ranks(name).tolist() == 2 * alone.ranks(name).tolist()


def test_repeats_are_collapsed_in_both_files_or_kept_in_both():
    train = [*of_session(0, "s1", "a", "a", "a", "b"), *of_session(10, "s2", "b", "c")]
    test = of_session(100, "t1", "b", "b", "a")
    collapsed, kept = sessions(train, test), sessions(train, test, replace(QUICK, repeats="keep"))
    assert [target.item_id for target in collapsed.targets] == ["a"]
    assert [target.item_id for target in kept.targets] == ["b", "a"]
    # collapsed b 2, a 1 and c 1, which tie; kept a 3, b 2
    assert collapsed.ranks("popularity").tolist() == [2]
    assert kept.ranks("popularity").tolist() == [2, 1]


def test_what_was_seen_may_return_unless_it_is_excluded():
    test = of_session(100, "t1", "a", "b", "a")
    assert sessions(TRAIN, test).ranks("popularity").tolist() == [1, 1]
    assert sessions(TRAIN, test, replace(QUICK, exclude_seen=True)).ranks("popularity").tolist() == [1, 0]


def test_without_session_ids_a_pause_ends_a_session():
    test = [an_event(100 + at, "u", item) for at, item in [(0, "a"), (5, "b"), (2_000, "c"), (2_001, "a")]]
    assert [target.item_id for target in sessions(TRAIN, test).targets] == ["b", "a"]


def test_impressions_and_acts_without_consent_are_not_predicted():
    shown = [replace(event, event_type="impression") for event in of_session(101, "t1", "c")]
    silent = of_session(102, "t1", "c", consent=False)
    test = [*of_session(100, "t1", "a"), *shown, *silent, *of_session(103, "t1", "b")]
    assert [target.item_id for target in sessions(TRAIN, test).targets] == ["b"]


def test_a_test_without_a_second_act_gives_an_empty_report():
    figures = report(sessions(TRAIN, of_session(100, "t1", "a")), "session", 3, "eddy")
    assert (figures["n"], figures["unwinnable"]) == (0, 0)
    assert figures["models"]["eddy"]["hr"] == 0


def test_what_share_of_a_frozen_test_could_not_be_won_is_reported_and_a_catalog_makes_new_items_known():
    test = of_session(100, "t1", "a", "new", "b")
    figures = report(sessions(TRAIN, test), "session", 3, "eddy")
    assert figures["unwinnable"] == 0.5
    assert figures["models"]["popularity"]["candidate_recall"] == 0.5
    kinds = {"a": "lanterns", "b": "hats", "c": "hats", "new": "lanterns"}
    catalog = [Item(item_id, categories=[kind]) for item_id, kind in kinds.items()]
    known = backtest_sessions(TRAIN, test, catalog, Strategy(), QUICK, iter(range(10_000)).__next__, lambda *_: None)
    assert report(known, "session", 3, "eddy")["unwinnable"] == 0
    assert known.ranks("content")[0] > 0


def test_own_items_and_what_sessions_have_in_common_are_rows_of_the_session_protocol():
    test = of_session(100, "t1", "a", "b", "a")
    outcomes = sessions(TRAIN, test)
    assert outcomes.ranks("own_items").tolist() == [0, 1]
    # Sessions are users: a goes with b twice and with c once.
    assert outcomes.ranks("ease").tolist()[0] == outcomes.ranks("mf").tolist()[0] == 1


def test_a_checkpoint_that_has_learned_the_test_is_refused():
    test = of_session(100, "t1", "a", "b")
    model = new_network("mlp", len(FEATURES), seed=0)
    learned_past, learned_test = (Checkpoint(model, "mlp-1", "", {LEARNED: sample_of(acts)}) for acts in (TRAIN, test))
    sessions(TRAIN, test, replace(QUICK, checkpoint=learned_past))
    with pytest.raises(ValueError, match="has learned acts"):
        sessions(TRAIN, test, replace(QUICK, checkpoint=learned_test))
    with pytest.raises(ValueError, match="has learned acts"):
        prequential(TRAIN, checkpoint=learned_past)


def test_a_training_file_without_acts_is_refused():
    with pytest.raises(ValueError, match="nothing to learn"):
        sessions([replace(event, event_type="impression") for event in TRAIN], TRAIN)


def test_recommend_score_and_only_then_learn():
    outcomes = prequential([an_event(n, f"u-{n}", item) for n, item in enumerate("abab")])
    # nothing is known; b is new; a and b tie, which counts against the right one; a leads b by 2 to 1
    assert outcomes.ranks("popularity").tolist() == [0, 0, 2, 2]


def test_the_warm_up_is_learned_and_not_judged():
    outcomes = backtest_prequential(
        [an_event(n, f"u-{n}", "a") for n in range(10)], [], Strategy(), replace(QUICK, warmup=0.3, n_timed=0),
        iter(range(9)).__next__, lambda *_: None,
    )  # fmt: skip
    assert outcomes.ranks("popularity").tolist() == [1] * 7


def test_acts_of_one_user_at_the_same_time_are_predicted_from_the_same_past_unless_order_is_trusted():
    events = [an_event(0, "u-1", "a"), an_event(1, "u-2", "b", timestamp=5), an_event(2, "u-2", "a", timestamp=5)]
    events = [replace(event, timestamp=event.timestamp if event.timestamp == 5 else 1) for event in events]
    strict, order = prequential(events), prequential(events, ties="order")
    assert [target.n_earlier for target in strict.targets] == [0, 0, 0]
    assert [target.n_earlier for target in order.targets] == [0, 0, 1]
    assert strict.ranks("popularity").tolist() == [0, 0, 1]


def test_items_that_the_tables_have_forgotten_since_still_count_as_known():
    years_s = 20 * 365 * 86_400
    once = [an_event(k, f"u-{k % 4}", f"old-{k}") for k in range(200)]
    # Every shard forgets at its next event, and the table is rebuilt at the next pause.
    later = [an_event(n * years_s + k, f"u-{k % 4}", f"new-{k}") for n in (1, 2) for k in range(300)]
    assert prequential([*once, *later]).n_items == 500


def test_an_item_that_was_seen_long_ago_stays_excluded():
    long_past = [an_event(n, "u", f"i-{n}") for n in range(60)]
    popular = [an_event(100 + n, f"v-{n}", "i-0") for n in range(5)]
    outcomes = prequential([*long_past, *popular, an_event(500, "u", "i-0")], exclude_seen=True)
    assert all(outcomes.ranks(name)[-1] == 0 for name in outcomes.records)


def test_a_slate_is_made_at_the_last_trigger_whatever_that_is_worth():
    # Whoever looks at c last is never shown it, though b was the last act.
    disliked = of_session(101, "t1", "a", event_type="dislike")
    test = [*of_session(100, "t1", "b"), *disliked, *of_session(102, "t1", "a")]
    assert sessions(TRAIN, test).ranks("popularity").tolist() == [0]
    silent = EventConfig(triggers=frozenset({"click"}))
    assert sessions(TRAIN, test, replace(QUICK, events=silent)).ranks("popularity").tolist() == [1]


def test_before_any_trigger_a_page_is_opened():
    config = EventConfig(triggers=frozenset({"purchase"}))
    outcomes = sessions(TRAIN, of_session(100, "t1", "a", "b"), replace(QUICK, events=config))
    # On a page there is no current item, so that a, which was seen, may stand before b.
    assert outcomes.ranks("popularity").tolist() == [2]


def test_a_session_of_the_platform_ends_with_a_day_of_silence_as_it_does_for_profiles():
    day = 86_400
    events = [an_event(at, "u", "a", session_id="s") for at in (0, day, 2 * day + 700)]
    config = ProfileConfig()
    assert [len(session) for session in sessions_of(events, config)] == [2, 1]
    windows = SessionWindows(config.session_gap_ms, config.lateness_ms)
    placed = [windows.place(event.timestamp, hash64("s")) for event in events]
    assert placed[0] is placed[1] is not placed[2]


def test_sessions_of_events_in_no_time_order_are_refused():
    with pytest.raises(ValueError, match="sort events by time"):
        sessions_of([an_event(10_000), an_event(0)], ProfileConfig())


def test_sessions_of_two_users_are_never_one():
    events = [an_event(0, "u", "a", session_id="s"), an_event(1, "v", "a", session_id="s")]
    assert [len(session) for session in sessions_of(events, ProfileConfig())] == [1, 1]


def test_only_consecutive_repeats_of_a_session_are_collapsed():
    events = [*of_session(0, "s", "a", "a", "b", "a"), an_event(9, "w", "a")]
    kept = collapse_repeats(events, BacktestConfig())
    assert [event.item_id for event in kept] == ["a", "b", "a", "a"]
