"""Segments: groups of users by what is known at once, such as device and time of day, each with trends of its own."""

from functools import lru_cache

from models.messages import Context, Value
from models.numeric.ids import hash64

EVERYBODY = "all"
"""The segment that everyone falls in."""
DAYPART = "daypart"
"""The field that no context needs to bring: the quarter of the day."""
DEFAULT_FIELDS = ("device", DAYPART)
HOUR_MS = 3_600_000
MAX_VALUE = 64
"""Characters; a longer value is no group of users, and makes no segment."""

_DAYPARTS = ("night", "morning", "afternoon", "evening")


def hour_of(context: Context | None, at: int) -> float:
    """Read the hour of the day in [0, 24): the context's `hour`, which is the user's own, else UTC's.

    Parameters
    ----------
    at : Unix ms.
    """
    hour: Value = context.get("hour") if context else None
    if isinstance(hour, int | float) and 0 <= hour < 24:
        return float(hour)
    return at / HOUR_MS % 24


def segments_of(fields: tuple[str, ...], context: Context | None, at: int) -> tuple[str, ...]:
    """Name the segments that a moment of a user falls in, most specific first.

    Parameters
    ----------
    fields : context fields whose values make segments, in the order in which they count; `daypart` stands for the
        quarter of the day, by `hour_of`.
    context : of the event or the request.
    at : its time, Unix ms.

    Returns
    -------
    One name a known value, in the fields' order, then `all`.

    >>> segments_of(("device", "daypart"), {"device": "mobile", "hour": 19}, 0)
    ('device=mobile', 'daypart=evening', 'all')
    """
    return _named(fields, tuple([_value(name, context, at) for name in fields]))


@lru_cache(maxsize=4096)
def hashes_of(segments: tuple[str, ...]) -> tuple[int, ...]:
    """Hash each segment's name (`models.numeric.ids.hash64`)."""
    return tuple([hash64(name) for name in segments])


def _value(field: str, context: Context | None, at: int) -> str | None:
    """Write a field's value as text: 1, 1.0 and True are equal, and would share what is kept of one of them."""
    if field == DAYPART:
        return _DAYPARTS[int(hour_of(context, at)) // 6]
    value = context.get(field) if context else None
    text = None if value is None else str(value)
    return None if text is None or len(text) > MAX_VALUE else text


@lru_cache(maxsize=4096)
def _named(fields: tuple[str, ...], values: tuple[str | None, ...]) -> tuple[str, ...]:
    named = [f"{name}={value}" for name, value in zip(fields, values, strict=True) if value is not None]
    return (*named, EVERYBODY)
