"""Profiles as bytes, for the recovery store."""

import struct

import msgspec
import numpy as np

from models.config import ProfileConfig
from models.events import EventConfig
from models.numeric.decay import DecayedSums
from models.numeric.windows import SessionWindows, SlidingWindow
from models.user.profile import HOUR_MS, MINUTE_MS, Profile
from models.user.record import N_INTERESTS, N_RECENT, STATE, States

VERSION = 2
"""First byte of a snapshot. Version 1 differs in the learner's weights, which did not decay."""
_UNDECAYED = 1
_BODY = 1 + STATE.itemsize


class SnapshotError(ValueError):
    """A snapshot cannot be read; the text says why."""


class _Rest(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is not in the record: MessagePack, fields in order. Integers are as short as their values."""

    n_events: int
    n_ratings: int
    rating_mean: float
    surprise: float
    sessions: tuple[int, ...]
    minutes: tuple[int, ...]
    hour: tuple[int, ...]
    event_ids: list[int]
    event_ages: list[int]
    """1 + milliseconds behind the newest event; 0 where it is beyond the lateness."""
    impressions: list[int]
    impression_counts: bytes
    """Little-endian float32."""
    impressions_decay: tuple[int, int] | None
    """Half-life and the landmark's age, both ms."""
    owned: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


def pack(profile: Profile) -> bytes:
    """Pack a profile: the version byte, the record as it is, then the rest."""
    newest_at = profile.sessions.newest_at
    late_before = newest_at - profile.config.lateness_ms
    shown = profile.impressions
    rest = _Rest(
        profile.n_events,
        profile.n_ratings,
        profile.rating_mean,
        profile.surprise,
        profile.sessions.pack(),
        profile.minutes.pack(),
        profile.hour.pack(),
        list(profile.event_ids),
        [newest_at - at + 1 if at >= late_before else 0 for at in profile.event_ids.values()],
        list(shown.scaled),
        struct.pack(f"<{len(shown.scaled)}f", *shown.scaled.values()),
        (shown.half_life_ms, newest_at - shown.landmark) if shown.scaled else None,
        list(profile.owned),
    )
    return bytes([VERSION]) + profile.state.tobytes() + _encode(rest)


def unpack(data: bytes, config: ProfileConfig, events: EventConfig) -> Profile:
    """Restore what `pack` returned; what is configured may have changed since.

    Raises
    ------
    SnapshotError : the snapshot is of another version, or damaged.
    """
    version = data[0] if data else 0
    if version not in (_UNDECAYED, VERSION):
        found = data[:1].hex() or "none"
        raise SnapshotError(f"a profile of version {found}: this release reads {_UNDECAYED} to {VERSION}")
    if len(data) < _BODY:
        raise SnapshotError(f"a damaged profile: {len(data)} bytes")
    try:
        rest = _decode(memoryview(data)[_BODY:])
        state: States = np.frombuffer(bytearray(data[1:_BODY]), STATE)
        if version == _UNDECAYED:
            _date_preferences(state)
        return _restore(state, rest, config, events)
    except (msgspec.DecodeError, struct.error, ValueError, IndexError, ArithmeticError) as error:
        raise SnapshotError(f"a damaged profile: {error}") from error


def _date_preferences(state: States) -> None:
    """Take the learner's weights, stored as they read, for those of the newest action."""
    user = state[0]
    if user["n_recent"]:
        age = float(user["recent_at"][0] - user["habit_at"])
        user["preferences"] *= np.float32(2.0 ** (age / float(user["half_life_habit_ms"])))


def _restore(state: States, rest: _Rest, config: ProfileConfig, events: EventConfig) -> Profile:
    if not (0 <= state["n_recent"][0] <= N_RECENT and 0 <= state["n_interests"][0] <= N_INTERESTS):
        raise ValueError("its counts are out of range")
    profile = Profile(config, events)
    profile.n_events, profile.n_ratings = rest.n_events, rest.n_ratings
    profile.rating_mean, profile.surprise = rest.rating_mean, rest.surprise
    profile.sessions = SessionWindows.unpack(rest.sessions, config.session_gap_ms, config.lateness_ms)
    profile.minutes = SlidingWindow.unpack(rest.minutes, 5 * MINUTE_MS, MINUTE_MS, config.lateness_ms)
    profile.hour = SlidingWindow.unpack(rest.hour, HOUR_MS, 5 * MINUTE_MS, config.lateness_ms)
    newest_at = profile.sessions.newest_at
    late_at = newest_at - config.lateness_ms - 1
    ages = zip(rest.event_ids, rest.event_ages, strict=True)
    profile.event_ids = {key: newest_at - age + 1 if age else late_at for key, age in ages}
    profile.owned = dict.fromkeys(rest.owned)
    if rest.impressions_decay is not None:
        half_life_ms, age = rest.impressions_decay
        counts = struct.unpack(f"<{len(rest.impressions)}f", rest.impression_counts)
        shown = DecayedSums(config.half_life_impressions_ms)
        shown.restore(dict(zip(rest.impressions, counts, strict=True)), newest_at - age, half_life_ms, newest_at)
        profile.impressions = shown
    profile.state = _with_half_lives(state, newest_at, config)
    return profile


def _with_half_lives(state: States, at: int, config: ProfileConfig) -> States:
    """Express a record in the config's half-lives: its sums read the same at `at`, and decay by those from there on."""
    user = state[0]
    for landmark, half_life, own_ms, sums in (
        ("moment_at", "half_life_moment_ms", config.half_life_moment_ms, ("moment",)),
        (
            "habit_at",
            "half_life_habit_ms",
            config.half_life_habit_ms,
            ("habit", "preferences", "price_weight", "price_sum"),
        ),
    ):
        if user[half_life] != own_ms:
            factor = 2.0 ** (float(user[landmark] - at) / float(user[half_life]))
            for name in sums:
                user[name] = user[name] * factor
            user[landmark], user[half_life] = at, own_ms
    return state
