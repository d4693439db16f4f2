"""One user's waiting slates and events as bytes: what a snapshot of attribution holds."""

from collections import Counter
from collections.abc import Mapping

import msgspec

from models.config import AttributionConfig
from models.online.attribution import UserAttribution
from models.online.attribution_state import HistoryAct, PendingFeedback, PendingSlate

FORMAT = 1

_BODY = tuple[int, int, int, list[PendingSlate], list[PendingFeedback], list[int], list[HistoryAct]]


def pack(user: UserAttribution) -> bytes:
    """Pack into a version byte and MessagePack: about 100 bytes an item that waits, 40 an event."""
    body = (
        user.events_at,
        user.slates_at,
        user.closed_until,
        list(user.slates.values()),
        list(user.events.values()),
        sorted(user.used),
        user.acts,
    )
    return bytes([FORMAT]) + msgspec.msgpack.encode(body)


def unpack(
    packed: bytes, config: AttributionConfig, weights: Mapping[str, float], counts: Counter[str]
) -> UserAttribution:
    """Restore what `pack` returned; the configuration may have changed since.

    Raises
    ------
    ValueError
        When the bytes are of another format, or damaged.
    """
    if packed[:1] != bytes([FORMAT]):
        raise ValueError(f"a user's attribution of format {packed[:1]!r}: this release reads format {FORMAT}")
    try:
        body = msgspec.msgpack.decode(packed[1:], type=_BODY)
    except msgspec.DecodeError as error:
        raise ValueError(f"a user's attribution is damaged: {error}") from error
    user = UserAttribution(config, weights, counts)
    user.events_at, user.slates_at, user.closed_until = body[:3]
    user.slates = {shown.name: shown for shown in body[3]}
    user.events = {seen.name: seen for seen in body[4]}
    user.used = set(body[5])
    user.acts = body[6]
    return user
