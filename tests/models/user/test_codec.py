from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import ProfileConfig
from models.events import EventConfig
from models.messages import Event
from models.user.codec import VERSION, SnapshotError, check, pack, unpack
from models.user.profile import Profile
from models.user.query import Query
from models.user.record import STATE
from tests import places
from tests.states import evidence_of, query_of

T0 = 1_700_000_000_000
KINDS = ("view", "view", "click", "impression", "rating", "cart", "purchase", "dislike")


def act(profile: Profile, seed: int, n: int, first: int = 0) -> None:
    """Apply events about a minute apart, some out of order, of a user with a taste for some 12 attributes."""
    random = Random(seed)  # noqa: S311
    for i in range(first, first + n):
        event = Event(
            event_id=f"e{i}",
            user_id="ann",
            item_id=f"i{random.randrange(40)}",
            event_type=random.choice(KINDS),
            timestamp=T0 + i * 60_000 + random.randrange(-200_000, 200_000),
            session_id=random.choice((None, None, "phone")),
            value=float(random.randrange(1, 6)),
        )
        liked, other = (np.array(random.sample(range(1, 13), 3), np.uint32) for _ in range(2))
        profile.apply(event, liked, random.random() * 100, other)


def a_profile(seed: int = 1, n: int = 60, **config: Any) -> Profile:
    profile = Profile(ProfileConfig(**config), EventConfig())
    act(profile, seed, n)
    return profile


def asked(profile: Profile) -> Query:
    return query_of(profile, profile.sessions.newest_at)


def assert_same(one: Profile, other: Profile) -> None:
    left, right = asked(one), asked(other)
    assert left.impressions == pytest.approx(right.impressions, rel=1e-4)
    assert replace(left, impressions={}) == replace(right, impressions={})
    assert (one.surprise, one.n_ratings, one.rating_mean) == (other.surprise, other.n_ratings, other.rating_mean)


@given(st.integers(0, 2**32), st.integers(0, 120))
@settings(max_examples=40, deadline=None)
def test_a_restored_profile_packs_alike_and_goes_on_alike(seed: int, n: int):
    profile = a_profile(seed, n)
    data = pack(profile)
    restored = unpack(data, profile.config, profile.events)
    assert pack(restored) == data
    assert_same(restored, profile)
    act(profile, seed + 1, 20, first=n - 5)
    act(restored, seed + 1, 20, first=n - 5)
    assert_same(restored, profile)


def test_a_typical_user_takes_less_than_2_kib():
    assert len(pack(a_profile(n=60))) <= 2_048


def test_a_user_at_every_bound_takes_less_than_8_kib():
    profile = Profile(ProfileConfig(), EventConfig())
    for i in range(2_000):
        for kind in ("purchase", "impression"):
            event = Event(f"{kind}{i}", "ann", f"{kind}{i}", kind, T0 + i * 60_000)
            profile.apply(event, np.arange(i, i + 5, dtype=np.uint32), 1e300, np.empty(0, np.uint32))
    assert len(pack(profile)) <= 8_192


def test_interests_and_preferences_survive_a_change_of_half_life():
    profile = a_profile()
    changed = unpack(pack(profile), ProfileConfig(half_life_moment_s=60, half_life_habit_s=120), EventConfig())
    expected = evidence_of(asked(profile)).interests
    for attribute, interest in evidence_of(asked(changed)).interests.items():
        assert interest == pytest.approx(expected[attribute], rel=1e-4)
    learned = evidence_of(asked(profile)).preferences
    assert evidence_of(asked(changed)).preferences == pytest.approx(learned, rel=1e-4)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_a_snapshot_of_each_version_still_loads(version: int):
    """All hold the same 60 events."""
    data = (places.GOLDEN / f"profile_v{version}.bin").read_bytes()
    profile = unpack(data, ProfileConfig(), EventConfig())
    query = asked(profile)
    evidence = evidence_of(query)
    assert (query.n_events, query.n_last_hour, len(query.owned)) == (60, 50, 7)
    assert (evidence.recent_items[0], evidence.recent_at[0] - T0) == (2823209006111928863, 3605899)
    assert (evidence.mean_price, evidence.drift) == pytest.approx((39.896382, 0.007531), rel=1e-4)
    assert evidence.interests[7] == pytest.approx((20.671516, 37.960285), rel=1e-4)
    packed = pack(profile)
    assert packed[0] == VERSION
    assert pack(unpack(packed, profile.config, profile.events)) == packed
    if version == VERSION:
        assert packed == data


def test_weights_that_did_not_decay_read_as_they_did_and_decay_from_there():
    data = (places.GOLDEN / "profile_v1.bin").read_bytes()
    stored = np.frombuffer(data[1 : 1 + STATE.itemsize], STATE)[0]
    profile = unpack(data, ProfileConfig(), EventConfig())
    query = asked(profile)
    at = evidence_of(query).recent_at[0]
    expected = dict(zip(stored["attributes"].tolist(), stored["preferences"].tolist(), strict=True))
    expected = {attribute: weight for attribute, weight in expected.items() if weight}
    assert len(expected) == 12
    for n_half_lives in (0, 1, 3):
        later = query_of(profile, at + n_half_lives * profile.config.half_life_habit_ms)
        faded = {attribute: weight / 2**n_half_lives for attribute, weight in expected.items()}
        assert evidence_of(later).preferences == pytest.approx(faded, rel=1e-5)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x05", b"\x01", b"\x02", b"\x03", b"\x04", b"\x02\x90"])
def test_a_damaged_or_newer_snapshot_is_refused(data: bytes):
    with pytest.raises(SnapshotError, match="profile"):
        unpack(data, ProfileConfig(), EventConfig())


def test_a_snapshot_cut_short_is_refused_wherever_it_is_cut():
    data = pack(a_profile())
    for end in range(0, len(data), 7):
        for read in (unpack, check):
            with pytest.raises(SnapshotError):
                read(data[:end], ProfileConfig(), EventConfig())


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_what_is_taken_for_a_profile_can_be_packed_and_is_taken_again(version: int):
    """Whatever a bit that has flipped on a disk makes of it: else a flow would end in the middle of its work."""
    data = (places.GOLDEN / f"profile_v{version}.bin").read_bytes()
    config, events = ProfileConfig(), EventConfig()
    refused = 0
    for at in range(1, len(data)):
        for damage in (*(1 << bit for bit in range(8)), data[at] ^ 0xCF):
            damaged = bytearray(data)
            damaged[at] ^= damage
            try:
                with np.errstate(all="ignore"):
                    profile = unpack(bytes(damaged), config, events)
            except SnapshotError:
                refused += 1
            else:
                check(pack(profile), config, events)
    assert refused > 100


def test_impressions_that_were_answered_leave_the_same_user():
    none = np.empty(0, np.uint32)
    events = [
        Event("e1", "ann", "a", "impression", T0),
        Event("e2", "ann", "a", "click", T0 + 1_000),
        Event("e3", "ann", "b", "impression", T0 + 777_777),
    ]
    profile = Profile(ProfileConfig(), EventConfig())
    for event in events[:2]:
        profile.apply(event, none, 0.0, none)
    restored = unpack(pack(profile), profile.config, profile.events)
    for one in (profile, restored):
        one.apply(events[2], none, 0.0, none)
    assert pack(restored) == pack(profile)


@given(st.integers(0, 100), st.integers(0), st.integers(1, 255), st.sampled_from([{}, {"half_life_habit_s": 60}]))
@settings(max_examples=300, deadline=None)
def test_a_check_finds_what_cannot_be_restored(n: int, at: int, flipped: int, config: dict[str, Any]):
    damaged = bytearray(pack(a_profile(n=n)))
    damaged[at % len(damaged)] ^= flipped
    refused = []
    for read in (unpack, check):
        try:
            with np.errstate(all="ignore"):
                read(bytes(damaged), ProfileConfig(**config), EventConfig())
        except SnapshotError as error:
            refused.append(str(error))
    assert not refused or refused == refused[:1] * 2


def test_a_user_who_did_little_takes_little():
    assert len(pack(a_profile(n=1))) < len(pack(a_profile(n=60))) / 4
