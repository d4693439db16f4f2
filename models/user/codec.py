"""Profiles as bytes, for the recovery store."""

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from models.config import ProfileConfig
from models.events import EventConfig
from models.numeric.decay import DecayedSums
from models.numeric.windows import SessionWindows, SlidingWindow
from models.user.profile import HOUR_MS, MINUTE_MS, Profile
from models.user.record import N_INTERESTS, N_RECENT, STATE, States

VERSION = 3
"""First byte of a snapshot. Version 1 differs in the learner's weights, which did not decay; up to version 2 the record
was written as it is, with the room that nothing was in."""
_UNDECAYED, _WHOLE = 1, 2
_FIRST = bytes([VERSION])


_FIELDS: Mapping[str, Any] = STATE.fields or {}


def _at(name: str) -> int:
    """Say where in a record a field begins."""
    return int(_FIELDS[name][1])


_HALF_LIVES, _HALF_LIVES_AT = struct.Struct("<qq"), _at("half_life_moment_ms")
_COUNTS, _COUNTS_AT = struct.Struct("<ii"), _at("n_recent")
"""How many recent items and interests are in use."""
_HEAD = _at("recent_at")
"""Bytes of a record before its lists."""
_LISTS = (
    *((_at(name), STATE[name].base.itemsize, 0) for name in ("recent_at", "recent_items", "recent_weights")),
    *((_at(name), STATE[name].base.itemsize, 1) for name in ("attributes", "moment", "habit", "preferences")),
)
"""Where each list of a record begins, the bytes of a place in it, and which of the two counts is its length."""
_A_RECENT, _AN_INTEREST = (sum(size for _, size, which in _LISTS if which == of) for of in (0, 1))
"""Bytes of all lists together, a place."""


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
    """Little-endian float64, so that a packed user is the same user; float32 up to version 2."""
    impressions_decay: tuple[int, int] | None
    """Half-life and the landmark's age, both ms."""
    owned: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


def pack(profile: Profile) -> bytes:
    """Pack a profile: the version byte, the record without the room that nothing is in, then the rest."""
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
        struct.pack(f"<{len(shown.scaled)}d", *shown.scaled.values()),
        (shown.half_life_ms, newest_at - shown.landmark) if shown.scaled else None,
        list(profile.owned),
    )
    return b"".join((_FIRST, *_in_use(profile.state.tobytes()), _encode(rest)))


def _in_use(record: bytes) -> list[bytes]:
    """Cut out of a record what is in use."""
    counts = _COUNTS.unpack_from(record, _COUNTS_AT)
    return [record[:_HEAD], *(record[at : at + size * counts[which]] for at, size, which in _LISTS)]


def check(data: bytes, config: ProfileConfig, events: EventConfig) -> None:
    """Raise what `unpack` would, mostly in a tenth of its time.

    Raises
    ------
    SnapshotError : the snapshot is of another version, or damaged.
    """
    _, rest = _parse(data)
    half_lives = _HALF_LIVES.unpack_from(data, 1 + _HALF_LIVES_AT)
    shown_ms = rest.impressions_decay[0] if rest.impressions_decay else config.half_life_impressions_ms
    as_set = (config.half_life_moment_ms, config.half_life_habit_ms, config.half_life_impressions_ms)
    if data[0] == _UNDECAYED or (*half_lives, shown_ms) != as_set:
        unpack(data, config, events)  # weights are expressed anew, which damaged ones may not survive


def unpack(data: bytes, config: ProfileConfig, events: EventConfig) -> Profile:
    """Restore what `pack` returned; what is configured may have changed since.

    Raises
    ------
    SnapshotError : the snapshot is of another version, or damaged.
    """
    counts, rest = _parse(data)
    state: States = np.frombuffer(_record(data, counts), STATE)
    try:
        if data[0] == _UNDECAYED:
            _date_preferences(state)
        shown = struct.unpack(f"<{len(rest.impressions)}{_count_of(data[0])}", rest.impression_counts)
        return _restore(state, rest, dict(zip(rest.impressions, shown, strict=True)), config, events)
    except (ValueError, ArithmeticError) as error:
        raise _damaged(str(error)) from error


def _parse(data: bytes) -> tuple[tuple[int, int], _Rest]:
    """Read how many recent items and interests there are, and what is not in the record."""
    version = data[0] if data else 0
    if not _UNDECAYED <= version <= VERSION:
        found = data[:1].hex() or "none"
        raise SnapshotError(f"a profile of version {found}: this release reads {_UNDECAYED} to {VERSION}")
    if len(data) < 1 + _HEAD:
        raise _damaged(f"{len(data)} bytes")
    counts = n_recent, n_interests = _COUNTS.unpack_from(data, 1 + _COUNTS_AT)
    if not (0 <= n_recent <= N_RECENT and 0 <= n_interests <= N_INTERESTS):
        raise _damaged("its counts are out of range")
    size = STATE.itemsize if version <= _WHOLE else _HEAD + n_recent * _A_RECENT + n_interests * _AN_INTEREST
    try:
        rest = _decode(memoryview(data)[1 + size :])
    except msgspec.DecodeError as error:
        raise _damaged(str(error)) from error
    counted = struct.calcsize(_count_of(version)) * len(rest.impressions)
    as_long = len(rest.event_ids) == len(rest.event_ages) and len(rest.impression_counts) == counted
    if not (as_long and len(rest.sessions) % 4 == 1 and rest.minutes and rest.hour):
        raise _damaged("its lists do not belong together")
    return counts, rest


def _record(data: bytes, counts: tuple[int, int]) -> bytearray:
    """Lay a record out, with all its room."""
    if data[0] <= _WHOLE:
        return bytearray(data[1 : 1 + STATE.itemsize])
    record = bytearray(STATE.itemsize)
    end = 1 + _HEAD
    record[:_HEAD] = data[1:end]
    for at, size, which in _LISTS:
        begin, end = end, end + size * counts[which]
        record[at : at + end - begin] = data[begin:end]
    return record


def _count_of(version: int) -> str:
    """Say how an impression's count is written."""
    return "f" if version <= _WHOLE else "d"


def _damaged(why: str) -> SnapshotError:
    return SnapshotError(f"a damaged profile: {why}")


def _date_preferences(state: States) -> None:
    """Take the learner's weights, stored as they read, for those of the newest action."""
    user = state[0]
    if user["n_recent"]:
        age = float(user["recent_at"][0] - user["habit_at"])
        user["preferences"] *= np.float32(2.0 ** (age / float(user["half_life_habit_ms"])))


def _restore(
    state: States, rest: _Rest, shown_counts: dict[int, float], config: ProfileConfig, events: EventConfig
) -> Profile:
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
        shown = DecayedSums(config.half_life_impressions_ms)
        shown.restore(shown_counts, newest_at - age, half_life_ms, newest_at)
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
