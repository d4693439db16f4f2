"""Profiles as bytes, for the recovery store."""

import struct
from collections.abc import Iterator
from itertools import islice

import msgspec

from models.profile import HOUR_MS, MINUTE_MS, Profile, ProfileConfig
from models.windows import SessionWindows, SlidingWindow

VERSION = 1
"""First byte of a snapshot."""
_VERSION_BYTE = bytes([VERSION])


class SnapshotError(ValueError):
    """A snapshot cannot be read; the text says why."""


class _Snapshot(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """The body: MessagePack, fields in order. Integers are as short as their values."""

    n_events: int
    n_ratings: int
    rating_mean: float
    decays: tuple[tuple[int, int], ...]
    """Half-life, and the landmark's age, both ms: of moment, habit, impressions and prices."""
    prices: list[float]
    """Doubles: a price may be beyond what a float32 holds."""
    sessions: tuple[int, ...]
    minutes: tuple[int, ...]
    hour: tuple[int, ...]
    event_ids: list[int]
    event_ages: list[int]
    """1 + milliseconds behind the newest event; 0 where it is beyond the lateness."""
    recent_items: list[int]
    recent_ages: list[int]
    interests: list[int]
    preferences: list[int]
    impressions: list[int]
    owned: list[int]
    floats: bytes
    """Little-endian float32: recent weights, moment, habit, preferences, impressions, surprise."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Snapshot).decode


def pack(profile: Profile) -> bytes:
    """Pack a profile: the version byte, then the state; sums and weights are rounded to float32."""
    newest_at, lateness_ms = profile.sessions.newest_at, profile.config.lateness_ms
    late_before = newest_at - lateness_ms
    decayed = (profile.moment, profile.habit, profile.impressions, profile.prices)
    moment, habit, impressions, prices = [sums.scaled for sums in decayed]
    minus_ats, items, weights = zip(*profile.recent, strict=True) if profile.recent else ((), (), ())
    floats = list(weights)
    for values in (moment, habit, profile.preferences, impressions):
        floats += values.values()
    floats.append(profile.surprise)
    body = _Snapshot(
        profile.n_events,
        profile.n_ratings,
        profile.rating_mean,
        tuple([(sums.half_life_ms, newest_at - sums.landmark) for sums in decayed]),
        list(prices.values()),
        profile.sessions.pack(),
        profile.minutes.pack(),
        profile.hour.pack(),
        list(profile.event_ids),
        [newest_at - at + 1 if at >= late_before else 0 for at in profile.event_ids.values()],
        list(items),
        [newest_at + minus_at for minus_at in minus_ats],
        list(habit),
        list(profile.preferences),
        list(impressions),
        list(profile.owned),
        struct.pack(f"<{len(floats)}f", *floats),
    )
    return _VERSION_BYTE + _encode(body)


def unpack(data: bytes, config: ProfileConfig) -> Profile:
    """Restore what `pack` returned; the config may have changed since.

    Raises
    ------
    SnapshotError : the snapshot is of another version, or damaged.
    """
    if data[:1] != _VERSION_BYTE:
        raise SnapshotError(f"a profile of version {data[:1].hex() or 'none'}: this release reads {VERSION}")
    try:
        return _restore(_decode(memoryview(data)[1:]), config)
    except (msgspec.DecodeError, struct.error, ValueError, IndexError, ArithmeticError) as error:
        raise SnapshotError(f"a damaged profile: {error}") from error


def _restore(body: _Snapshot, config: ProfileConfig) -> Profile:
    profile = Profile(config)
    profile.n_events, profile.n_ratings, profile.rating_mean = body.n_events, body.n_ratings, body.rating_mean
    profile.sessions = SessionWindows.unpack(body.sessions, config.session_gap_ms, config.lateness_ms)
    profile.minutes = SlidingWindow.unpack(body.minutes, 5 * MINUTE_MS, MINUTE_MS, config.lateness_ms)
    profile.hour = SlidingWindow.unpack(body.hour, HOUR_MS, 5 * MINUTE_MS, config.lateness_ms)
    newest_at = profile.sessions.newest_at
    late_at = newest_at - config.lateness_ms - 1
    ages = zip(body.event_ids, body.event_ages, strict=True)
    profile.event_ids = {key: newest_at - age + 1 if age else late_at for key, age in ages}
    floats = iter(struct.unpack(f"<{len(body.floats) // 4}f", body.floats))
    weights = _take(body.recent_items, floats)
    recent = zip(body.recent_ages, body.recent_items, weights, strict=True)
    profile.recent = [(age - newest_at, item, weight) for age, item, weight in recent]
    moment = dict(zip(body.interests, _take(body.interests, floats), strict=True))
    habit = dict(zip(body.interests, _take(body.interests, floats), strict=True))
    profile.preferences = dict(zip(body.preferences, _take(body.preferences, floats), strict=True))
    impressions = dict(zip(body.impressions, _take(body.impressions, floats), strict=True))
    decayed = (profile.moment, profile.habit, profile.impressions, profile.prices)
    scaled = (moment, habit, impressions, dict(enumerate(body.prices)))
    for sums, values, (half_life_ms, age) in zip(decayed, scaled, body.decays, strict=True):
        sums.restore(values, newest_at - age, half_life_ms, newest_at)
    profile.owned = dict.fromkeys(body.owned)
    (profile.surprise,) = floats
    return profile


def _take(keys: list[int], floats: Iterator[float]) -> list[float]:
    """Return the next floats, one a key."""
    return list(islice(floats, len(keys)))
