from base64 import b64encode
from typing import Any

from models.config import AttributionConfig
from models.names import FEATURES
from models.offline.policy.rounds import LoggedCandidates, Round, rounds_of
from models.online.outcome import ShownItem
from tests.models.builders import NOW
from tests.models.offline.policy.audience import a_logged_slate, an_act

WEIGHTS = {"click": 1.0, "purchase": 5.0, "dislike": -1.0, "impression": 0.0}
SECOND = 1_000
CONFIG = AttributionConfig(window_s=60)


def a_slate(slate_id: str, items: str, at: int = NOW, **fields: Any) -> Any:
    return a_logged_slate(slate_id, fields.pop("user", "u"), [ShownItem(i, n, 1.0) for n, i in enumerate(items)], at=at)


def rewards(rounds: list[Round]) -> dict[str, list[float]]:
    return {one.slate.recommendation_id: one.rewards.tolist() for one in rounds}


def rounds(slates: list[Any], acts: list[Any], **options: Any) -> dict[str, list[float]]:
    return rewards(list(rounds_of(slates, acts, options.pop("config", CONFIG), WEIGHTS, **options)))


LATER = an_act("z", NOW + 200 * SECOND, user="somebody else")


def test_an_act_is_the_newest_slates_reward_at_the_place_of_its_item():
    slates = [a_slate("first", "ab"), a_slate("second", "ba", NOW + 10 * SECOND)]
    acts = [an_act("a", NOW + 5 * SECOND), an_act("a", NOW + 20 * SECOND), an_act("b", NOW + 90 * SECOND), LATER]
    assert rounds(slates, acts) == {"first": [1, 0], "second": [0, 1]}


def test_a_slate_that_was_replaced_at_once_is_a_round_without_reward():
    slates = [a_slate("first", "ab"), a_slate("second", "cd", NOW + 1)]
    assert rounds(slates, [LATER]) == {"first": [0, 0], "second": [0, 0]}


def test_a_slate_whose_windows_have_not_closed_is_not_judged_yet():
    assert rounds([a_slate("first", "ab"), a_slate("young", "cd", NOW + 30 * SECOND)], []) == {}


def test_only_the_acts_that_are_asked_for_are_rewards():
    acts = [
        an_act("a", NOW + SECOND),
        an_act("b", NOW + SECOND, "purchase"),
        an_act("b", NOW + SECOND, "dislike"),
        LATER,
    ]
    assert rounds([a_slate("first", "ab")], acts) == {"first": [1, 1]}
    assert rounds([a_slate("first", "ab")], acts, counted=["purchase"]) == {"first": [0, 1]}


def test_where_impressions_are_events_what_was_not_seen_is_no_reward():
    config = AttributionConfig(window_s=60, impressions="event")
    acts = [an_act("a", NOW + SECOND, "impression"), an_act("a", NOW + 2 * SECOND), an_act("b", NOW + 3 * SECOND)]
    later = an_act("z", NOW + 2_000 * SECOND, user="somebody else")
    assert rounds([a_slate("first", "ab")], [*acts, later], config=config) == {"first": [1, 0]}


def test_candidates_that_do_not_fit_together_are_told():
    features = b64encode(bytes(2 * 2 * len(FEATURES))).decode()
    whole = LoggedCandidates(["a", "b"], [0.0, 1.0], [0, 0], 5, features, [], ["trending"])
    assert whole.fault is None
    assert LoggedCandidates(["a"], [0.0], [0], 5, features, [], []).fault is not None
    assert LoggedCandidates(["a", "b"], [0.0], [0, 0], 5, features, [], []).fault is not None
    assert LoggedCandidates(["a", "b"], [0.0, 0.0], [0, 0], 5, "?", [], []).fault is not None
