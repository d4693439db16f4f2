"""Times of all forms as Unix milliseconds."""

from collections.abc import Iterable
from datetime import UTC, datetime

import polars as pl

from dataflows.imports.column_map import ISO, SCALES

_LEAST = (("ns", 1e17), ("us", 1e14), ("ms", 1e11))
"""From which number on a time is taken for one of this unit: in each, some year after 1973; below, seconds."""


def milliseconds(times: pl.Series, unit: str | None) -> pl.Series:
    """Read times, of which those that cannot be read become null.

    Parameters
    ----------
    times : (n,) numbers, dates, or texts of either; a date without a zone is taken for UTC.
    unit : one of UNITS; None: what most of them look like.
    """
    if times.dtype.is_temporal():
        return times.dt.epoch("ms")
    numbers = times.cast(pl.Float64, strict=False)
    unit = unit or _guessed(numbers, times)
    if unit == ISO:
        return pl.Series(times.name, _parsed(times.cast(pl.String)), pl.Int64)
    up, down = SCALES[unit]
    return (numbers * up / down).round().cast(pl.Int64, strict=False)


def _guessed(numbers: pl.Series, times: pl.Series) -> str:
    """Say what most times look like."""
    if numbers.count() * 2 < times.count():
        return ISO
    median = numbers.median()
    typical = float(median) if isinstance(median, int | float) else 0.0
    return next((unit for unit, least in _LEAST if abs(typical) >= least), "s")


def _parsed(texts: Iterable[str | None]) -> list[int | None]:
    return [None if text is None else iso_ms(text) for text in texts]


def iso_ms(text: str) -> int | None:
    """Read a date in ISO 8601, also with ` UTC` behind it; without a zone it is UTC. None: it is none."""
    try:
        moment = datetime.fromisoformat(text.strip().removesuffix(" UTC"))
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
