"""Profiles as bytes, for the recovery store."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import sub
from typing import Annotated, Any

import msgspec
import numpy as np

from models.config import ProfileConfig
from models.events import EventConfig
from models.numeric.decay import DecayedSums
from models.numeric.windows import SessionWindows, SlidingWindow
from models.user.profile import HOUR_MS, MINUTE_MS, Profile
from models.user.record import N_INTERESTS, N_RECENT, STATE, States

VERSION = 4
"""First byte of a snapshot. Version 1 differs in the learner's weights, which did not decay; up to version 2 the record
was written as it is, with the room that nothing was in; up to version 3 the recent items' moments and weights were, and
each id took nine bytes."""
_UNDECAYED, _WHOLE, _LONG = 1, 2, 3
_FIRST = bytes([VERSION])
_END_OF_TIME = 2**62


_FIELDS: Mapping[str, Any] = STATE.fields or {}


def _at(name: str) -> int:
    """Say where in a record a field begins."""
    return int(_FIELDS[name][1])


_HALF_LIVES, _HALF_LIVES_AT = struct.Struct("<qq"), _at("half_life_moment_ms")
_COUNTS, _COUNTS_AT = struct.Struct("<ii"), _at("n_recent")
"""How many recent items and interests are in use."""
_RECENT_AT, _WEIGHTS_AT = _at("recent_at"), _at("recent_weights")
_AN_ID, _A_WEIGHT = 8, 4
"""Bytes of each."""
_HEAD = _at("recent_at")
"""Bytes of a record before its lists."""


def _lists(recent: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """Say where each list begins, the bytes of a place in it, and which of the two counts is its length."""
    kinds = (recent, 0), (("attributes", "moment", "habit", "preferences"), 1)
    return tuple((_at(name), STATE[name].base.itemsize, which) for names, which in kinds for name in names)


_CUT = _lists(("recent_items",))
"""The lists of which a snapshot has what is in use, as it is."""
_CUT_LONG = _lists(("recent_at", "recent_items", "recent_weights"))
"""As in version 3."""
_SIZES, _SIZES_LONG = (
    tuple(sum(size for _, size, which in lists if which == of) for of in (0, 1)) for lists in (_CUT, _CUT_LONG)
)
"""Bytes of all such lists together, a place of each of the two kinds."""


class SnapshotError(ValueError):
    """A snapshot cannot be read; the text says why."""


_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Rest(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What is not in the record: MessagePack, fields in order. Integers are as short as their values."""

    n_events: int
    n_ratings: int
    rating_mean: float
    surprise: float
    sessions: tuple[int, ...]
    minutes: tuple[int, ...]
    hour: tuple[int, ...]
    event_ids: list[_Int64] | bytes
    """Little-endian int64, as all ids; a list up to version 3."""
    event_ages: list[int]
    """1 + milliseconds behind the newest event; 0 where it is beyond the lateness."""
    impressions: list[_Int64] | bytes
    impression_counts: bytes
    """Little-endian float64, so that a packed user is the same user; float32 up to version 2."""
    impressions_decay: tuple[int, int] | None
    """Half-life and the landmark's age, both ms."""
    owned: list[_Int64] | bytes
    recent_at: _Int64 = 0
    """When the newest of the recent items was acted on, Unix ms."""
    recent_gaps: list[_Int64] = []
    """Milliseconds between each of them and the one before, which is newer."""
    recent_weights: bytes = b""
    """Little-endian float32; one, where all are alike."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


def pack(profile: Profile) -> bytes:
    """Pack a profile: the version byte, the record without the room that nothing is in, then the rest."""
    record = profile.state.tobytes()
    n_recent, n_interests = _COUNTS.unpack_from(record, _COUNTS_AT)
    recent_at = struct.unpack_from(f"<{n_recent}q", record, _RECENT_AT)
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
        _ids(profile.event_ids),
        [newest_at - at + 1 if at >= late_before else 0 for at in profile.event_ids.values()],
        _ids(shown.scaled),
        struct.pack(f"<{len(shown.scaled)}d", *shown.scaled.values()),
        (shown.half_life_ms, newest_at - shown.landmark) if shown.landmark else None,
        _ids(profile.owned),
        *((recent_at[0], list(map(sub, recent_at, recent_at[1:])), _weights(record, n_recent)) if n_recent else ()),
    )
    counts = n_recent, n_interests
    lists = [record[at : at + size * counts[which]] for at, size, which in _CUT]
    return b"".join((_FIRST, record[:_HEAD], *lists, _encode(rest)))


def _weights(record: bytes, n_recent: int) -> bytes:
    weights = record[_WEIGHTS_AT : _WEIGHTS_AT + n_recent * _A_WEIGHT]
    first = weights[:_A_WEIGHT]
    return first if weights == first * n_recent else weights


def _ids(of: Iterable[int]) -> bytes:
    ids = list(of)
    return struct.pack(f"<{len(ids)}q", *ids)


def _read_ids(ids: list[int] | bytes) -> Sequence[int]:
    return ids if isinstance(ids, list) else struct.unpack(f"<{_n_ids(ids)}q", ids)


def _n_ids(ids: list[int] | bytes) -> int:
    """Count ids; -1 where one is cut off."""
    if isinstance(ids, list):
        return len(ids)
    n, over = divmod(len(ids), _AN_ID)
    return -1 if over else n


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
    state = _record(data, counts, rest)
    try:
        if data[0] == _UNDECAYED:
            _date_preferences(state)
        impressions = _read_ids(rest.impressions)
        shown = struct.unpack(f"<{len(impressions)}{_count_of(data[0])}", rest.impression_counts)
        return _restore(state, rest, dict(zip(impressions, shown, strict=True)), config, events)
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
    try:
        rest = _decode(memoryview(data)[_end_of_lists(version, counts) :])
    except msgspec.DecodeError as error:
        raise _damaged(str(error)) from error
    if version <= _LONG:
        is_dated = _are_moments(struct.unpack_from(f"<{n_recent}q", data, 1 + _RECENT_AT))
    else:
        is_dated = _is_dated(rest, n_recent)
    if not (is_dated and _fits_together(rest, version)):
        raise _damaged("its lists do not belong together")
    return counts, rest


def _end_of_lists(version: int, counts: tuple[int, int]) -> int:
    """Say where in a snapshot what was cut out of the record ends."""
    if version <= _WHOLE:
        return 1 + STATE.itemsize
    a_recent, an_interest = _SIZES_LONG if version == _LONG else _SIZES
    return 1 + _HEAD + counts[0] * a_recent + counts[1] * an_interest


def _record(data: bytes, counts: tuple[int, int], rest: _Rest) -> States:
    """Lay a record out, with all its room."""
    version = data[0]
    if version <= _WHOLE:
        return np.frombuffer(bytearray(data[1 : 1 + STATE.itemsize]), STATE)
    record, end = bytearray(STATE.itemsize), 1 + _HEAD
    record[:_HEAD] = data[1:end]
    for at, size, which in _CUT_LONG if version == _LONG else _CUT:
        begin, end = end, end + size * counts[which]
        record[at : at + end - begin] = data[begin:end]
    if version > _LONG and (n_recent := counts[0]):
        recent_at = accumulate(rest.recent_gaps, sub, initial=rest.recent_at)
        struct.pack_into(f"<{n_recent}q", record, _RECENT_AT, *recent_at)
        weights = rest.recent_weights if len(rest.recent_weights) > _A_WEIGHT else rest.recent_weights * n_recent
        record[_WEIGHTS_AT : _WEIGHTS_AT + len(weights)] = weights
    return np.frombuffer(record, STATE)


def _is_dated(rest: _Rest, n_recent: int) -> bool:
    """Say whether each recent item has a moment and a weight."""
    n_weights = len(rest.recent_weights) / _A_WEIGHT
    if not n_recent:
        return not (rest.recent_gaps or n_weights)
    if len(rest.recent_gaps) != n_recent - 1 or n_weights not in (1, n_recent):
        return False
    if min(rest.recent_gaps, default=0) >= 0:  # as always where nothing is damaged
        return _are_moments((rest.recent_at, rest.recent_at - sum(rest.recent_gaps)))
    return _are_moments(list(accumulate(rest.recent_gaps, sub, initial=rest.recent_at)))


def _are_moments(moments: Sequence[int]) -> bool:
    """Say whether an int64 can hold each, and what lies between any two."""
    return not moments or (min(moments) > -_END_OF_TIME and max(moments) < _END_OF_TIME)


def _fits_together(rest: _Rest, version: int) -> bool:
    """Say whether lists that belong together are as long as each other, and no id is cut off."""
    counted = struct.calcsize(_count_of(version)) * _n_ids(rest.impressions)
    as_long = _n_ids(rest.event_ids) == len(rest.event_ages) and len(rest.impression_counts) == counted
    return as_long and _n_ids(rest.owned) >= 0 and len(rest.sessions) % 4 == 1 and bool(rest.minutes and rest.hour)


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
    ages = zip(_read_ids(rest.event_ids), rest.event_ages, strict=True)
    profile.event_ids = {key: newest_at - age + 1 if age else late_at for key, age in ages}
    profile.owned = dict.fromkeys(_read_ids(rest.owned))
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
