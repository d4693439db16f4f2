"""Events and items as Eddy's JSON lines, each of which the flows' own codecs take."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import orjson
import polars as pl
from xxhash import xxh3_128_hexdigest

from dataflows.codecs import catalog_decoder, event_decoder
from dataflows.imports.convert import COPY
from dataflows.imports.frames import ORIGIN
from dataflows.imports.skipped import Skipped
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Location
from models.names import EVENT_WEIGHTS

WRITTEN_AT_ONCE = 10_000
OBJECTS = ("context", "attributes")
"""Columns that hold JSON."""
LOCATION = tuple(field.name for field in dataclasses.fields(Location))
"""Columns that are an item's location together."""

TIMES = {"future": "a time in the future", "seconds": "a time around 1970: say its unit, as in --map timestamp=ts:s"}
"""What the codec finds of times, without the time itself."""

Decode: TypeAlias = Callable[[list[Record]], list[Any]]


def event_lines(events: pl.DataFrame, settings: EventSettings, skipped: Skipped) -> Iterator[bytes]:
    """Write usable events, in their order.

    An event without an id gets one that follows from what it says, so that the same file gives the same ids.

    Parameters
    ----------
    skipped : what the codec refuses is added to it.
    """
    return _checked(events, event_decoder(replace(settings, keys="any")), skipped, _event)


def item_lines(items: pl.DataFrame, settings: EventSettings, skipped: Skipped) -> Iterator[bytes]:
    """Write usable items; what the codec refuses is added to `skipped`."""
    return _checked(items, catalog_decoder(settings), skipped, _item)


def _checked(
    frame: pl.DataFrame,
    decode: Decode,
    skipped: Skipped,
    fields_of: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> Iterator[bytes]:
    for part in frame.iter_slices(WRITTEN_AT_ONCE):
        rows = list(part.iter_rows(named=True))
        written = [orjson.dumps(fields_of(row)) for row in rows]
        now_ms = int(time.time() * 1_000)
        found = decode([Record(0, number, now_ms, None, line) for number, line in enumerate(written)])
        for row, line, message in zip(rows, written, found, strict=True):
            if isinstance(message, DeadLetter):
                skipped.add(_problem(row, message), [(row["file"], row["line"])])
            else:
                yield line


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = _fields(row)
    if "event_id" not in fields:
        said = (row["user_id"], row["item_id"], row["event_type"], row["timestamp"], row[COPY])
        fields = {"event_id": xxh3_128_hexdigest("\0".join(map(str, said)).encode())} | fields
    return fields


def _item(row: Mapping[str, Any]) -> dict[str, Any]:
    fields = _fields(row)
    place = {name: fields.pop(name) for name in LOCATION if name in fields}
    return fields | {"location": place} if place else fields


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: orjson.Fragment(value) if name in OBJECTS else value
        for name, value in row.items()
        if value is not None and name not in ORIGIN and name != COPY
    }


def _problem(row: Mapping[str, Any], letter: DeadLetter) -> str:
    """Say what the codec found, alike for all rows of the kind."""
    if letter.reason == "unknown_event_type":
        name = row["event_type"]
        known = ", ".join(sorted(EVENT_WEIGHTS))
        return (
            f"event_type {name!r} is not known: say by --rename {name}=TYPE which of {known} it is, or name it in "
            "EDDY_EVENTS__WEIGHTS"
        )
    return TIMES.get(letter.reason) or f"{letter.reason}: {letter.detail}"
