import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.events import EventConfig
from models.messages import Event, Request
from models.names import FEATURES
from models.offline.walk import Examples, WalkConfig, walk
from models.strategy import Strategy
from tests.models.offline.builders import NOW, SECOND, a_catalog, an_event, random_past

REPEATS = Strategy(allow_seen=True, allow_owned=True)


def walked(events: list[Event], publish_every: int = 4, strategies: tuple[Strategy, ...] = (REPEATS,)) -> Examples:
    """All examples of one strategy or of several, end to end; 12 items and so always as many candidates."""
    config = WalkConfig(strategies=strategies, publish_every=publish_every)
    return Examples.joined(list(walk(events, a_catalog(), config)))


@pytest.mark.parametrize("publish_every", [1, 5, 1_000])
def test_an_event_is_no_candidate_because_of_itself(publish_every: int) -> None:
    # Every item is acted on once and the catalog has none of them: whoever learned first would know them all.
    events = [an_event(k, f"u-{k % 3}", f"new-{k}") for k in range(60)]
    parts = list(walk(events, [], WalkConfig(publish_every=publish_every)))
    assert sum(part.n for part in parts) == 57
    assert not any(part.answered.any() for part in parts)


@settings(max_examples=15, deadline=None)
@given(index=st.integers(1, 79), seed=st.integers(0, 5))
def test_what_comes_later_changes_nothing_of_a_slate(index: int, seed: int) -> None:
    events = random_past(80)
    otherwise = random_past(80, seed=seed + 1)
    mixed = events[:index] + otherwise[index:]
    until = NOW + (index - 1) * SECOND
    first, second = walked(events), walked(mixed)
    # A user's last act has no example, so what is compared are slates that both pasts have.
    both = np.intersect1d(first.made_at[first.made_at <= until], second.made_at)
    ours, theirs = np.isin(first.made_at, both), np.isin(second.made_at, both)
    assert np.array_equal(first.inputs.features[ours], second.inputs.features[theirs])


def test_a_pair_is_known_once_its_block_was_learned_and_not_before() -> None:
    events = [an_event(k, f"u-{k // 2}", "ab"[k % 2]) for k in range(8)]
    rules = Strategy(sources={"sequential_rules": 1.0}, allow_seen=True)
    [*parts] = walk(events, [], WalkConfig(strategies=(rules,), publish_every=4))
    labels = {at: label for part in parts for at, label in zip(part.made_at, part.label_index, strict=True)}
    # Users 0 and 1 are in the first block; 2 and 3 profit from what they did.
    assert [labels[NOW + k * SECOND] for k in (0, 2, 4, 6)] == [-1, -1, 0, 0]


def test_the_label_is_the_users_next_act() -> None:
    events = [
        an_event(0, "u-1", "i-1"),
        an_event(1, "u-2", "i-5"),
        an_event(2, "u-1", "i-2", event_type="impression"),
        an_event(3, "u-1", "i-3"),
    ]
    examples = walked([*random_past(100)[:0], *events])
    assert examples.made_at.tolist() == [NOW]
    assert examples.answered_at.tolist() == [NOW + 3 * SECOND]


def test_a_slate_is_made_for_whatever_triggers_one_and_labelled_with_the_next_act() -> None:
    events = [
        an_event(0, event_type="dislike", item="i-1"),
        an_event(1, event_type="dislike", item="i-2"),
        an_event(2, event_type="impression", item="i-3"),
        an_event(3, item="i-4"),
    ]
    assert walked(events).made_at.tolist() == [NOW, NOW + SECOND]
    assert set(walked(events).answered_at.tolist()) == {NOW + 3 * SECOND}
    config = WalkConfig(events=EventConfig(triggers=frozenset({"impression"})))
    assert [made_at for part in walk(events, a_catalog(), config) for made_at in part.made_at] == [NOW + 2 * SECOND]


def test_a_request_makes_a_slate_of_its_own_candidates_and_teaches_nothing() -> None:
    page = Request("r", "u-1", NOW, candidates=["i-7", "i-9"])
    [opened, after] = walk([page, an_event(1, item="i-9"), an_event(2, item="i-4")], a_catalog())
    assert (opened.n, opened.present.sum(), opened.answered.all()) == (1, 2, True)
    assert after.made_at.tolist() == [NOW + SECOND]
    signals = FEATURES.index("n_events")
    assert opened.inputs.features[0, 0, signals] == 0
    assert after.inputs.features[0, 0, signals] == np.float32(np.log1p(1) / 10)


def test_no_ranker_learns_from_searches() -> None:
    config = WalkConfig(events=EventConfig(text_field="wrote"))
    events = [an_event(k, context={"wrote": "a lamp"} if k % 2 else None) for k in range(6)]
    messages = [Request("r", "u-1", NOW, query="a lamp"), *events]
    assert [at for part in walk(messages, a_catalog(), config) for at in part.made_at] == [
        NOW, NOW + 2 * SECOND, NOW + 4 * SECOND
    ]  # fmt: skip


def test_the_same_past_gives_the_same_examples() -> None:
    events = random_past()
    first, again = walked(events), walked(events)
    assert first.answered.sum() > 50
    assert np.array_equal(first.inputs.features, again.inputs.features)
    assert np.array_equal(first.label_index, again.label_index)


def test_each_strategy_has_the_same_slates_with_its_own_candidates() -> None:
    events = random_past()
    parts = list(walk(events, a_catalog(), WalkConfig(strategies=(Strategy(), REPEATS))))
    new, any_ = ([part for part in parts if part.strategy == index] for index in (0, 1))
    assert np.array_equal(np.concatenate([p.made_at for p in new]), np.concatenate([p.made_at for p in any_]))
    seen = FEATURES.index("n_seen")
    assert max(part.inputs.features[..., seen].max() for part in new) == 0
    assert max(part.inputs.features[..., seen].max() for part in any_) > 0


def test_who_does_not_consent_makes_no_example() -> None:
    assert not list(walk([an_event(k, consent=False) for k in range(9)], a_catalog()))


def test_an_empty_past_has_no_examples() -> None:
    assert not list(walk([], a_catalog()))


def test_progress_counts_up_to_the_end() -> None:
    reported: list[tuple[int, int]] = []
    list(walk(random_past(10), [], WalkConfig(publish_every=4), lambda n, of: reported.append((n, of))))
    assert reported == [(4, 10), (8, 10), (10, 10)]
