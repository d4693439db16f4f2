"""What a store holds, in figures and, of one user, in words."""

from collections import Counter
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any

import xxhash

from dataflows.run.settings import Settings
from dataflows.store.files import StoreMoment
from dataflows.store.states import KINDS, format_of, unpickle
from models.user.record import N_INTERESTS, N_RECENT
from models.user.state import UserState

N_LARGEST = 3
"""Keys that are named, by hash, for their size."""


@dataclass(slots=True)
class StepContents:
    """What a step keeps."""

    keys: int = 0
    bytes: int = 0
    newest_epoch: int = 0
    superseded: int = 0
    """Rows that `eddy state compact` would drop."""
    formats: Counter[str] = field(default_factory=Counter)
    largest: list[tuple[int, str]] = field(default_factory=list)
    """Bytes and the hash of the key, the largest first."""


def contents_of(moment: StoreMoment) -> dict[str, StepContents]:
    """Count what a store holds, by step."""
    newest = moment.newest()
    found: dict[str, StepContents] = {}
    for (step_id, key), row in sorted(newest.items()):
        size = len(row.change or b"")
        step = found.setdefault(step_id, StepContents())
        step.keys += 1
        step.bytes += size
        step.newest_epoch = max(step.newest_epoch, row.epoch)
        step.formats[_format(step_id, row.change or b"")] += 1
        step.largest = nlargest(N_LARGEST, [*step.largest, (size, key_hash(key))])
    for row in moment.rows():
        kept = newest.get((row.step_id, row.key))
        if kept is None or kept.epoch != row.epoch:
            found.setdefault(row.step_id, StepContents()).superseded += 1
    return found


def _format(step_id: str, change: bytes) -> str:
    try:
        return format_of(step_id, unpickle(change))
    except ValueError:
        return "unreadable"


def key_hash(key: str) -> str:
    """Name a key without saying it."""
    return xxhash.xxh3_64_hexdigest(key.encode())


def describe_user(moment: StoreMoment, key: str, settings: Settings) -> dict[str, Any]:
    """Say what a store holds of one user, by step; the profile in words, of the rest its size and format.

    Parameters
    ----------
    key : under which the user's state is kept.

    Raises
    ------
    SnapshotError : the profile cannot be read.
    """
    found: dict[str, Any] = {}
    for (step_id, held), row in moment.newest().items():
        if held == key and step_id in KINDS and KINDS[step_id].by_user:
            state = unpickle(row.change or b"")
            found[step_id] = {"epoch": row.epoch, "bytes": len(row.change or b""), "format": format_of(step_id, state)}
            if step_id == "recommend.profile":
                found[step_id] |= _profile_in_words(state, settings)
    return found


def _profile_in_words(state: Any, settings: Settings) -> dict[str, Any]:
    """Name what a profile holds; items and attributes are kept as hashes alone."""
    packed, held, requests, run, *_ = state
    profile = UserState(settings.profile, settings.events, (packed, requests, run)).profile
    record = profile.state[0]
    at = profile.sessions.newest_at
    n, m = min(int(record["n_recent"]), N_RECENT), min(int(record["n_interests"]), N_INTERESTS)
    moment = record["moment"][:m] * 2.0 ** (float(record["moment_at"] - at) / float(record["half_life_moment_ms"]))
    long = 2.0 ** (float(record["habit_at"] - at) / float(record["half_life_habit_ms"]))
    weight = float(record["price_weight"])
    session = profile.sessions.current
    return {
        "events": profile.n_events,
        "newest_event_at": at,
        "session_started_at": session.started_at if session is not None else None,
        "recent_items": [
            {"item": _hex(item), "at": int(acted_at), "weight": round(float(strength), 4)}
            for item, acted_at, strength in zip(
                record["recent_items"][:n], record["recent_at"][:n], record["recent_weights"][:n], strict=True
            )
        ],
        "interests": [
            {
                "attribute": f"{int(name):08x}",
                "now": round(float(now), 4),
                "ever": round(float(ever), 4),
                "preference": round(float(preference), 4),
            }
            for name, now, ever, preference in zip(
                record["attributes"][:m],
                moment,
                record["habit"][:m] * long,
                record["preferences"][:m] * long,
                strict=True,
            )
        ],
        "mean_price": round(float(record["price_sum"]) / weight, 4) if weight > 0 else None,
        "owned": [_hex(item) for item in profile.owned],
        "shown": {_hex(item): round(n, 4) for item, n in profile.impressions.at(at).items()},
        "ratings": {"n": profile.n_ratings, "mean": round(profile.rating_mean, 4)},
        "experiment": {"declaration": held[0], "variant": held[1]} if held[1] else None,
        "requests_remembered": len(requests),
    }


def _hex(item: int) -> str:
    return f"{int(item) & 0xFFFFFFFFFFFFFFFF:016x}"
