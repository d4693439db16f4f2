"""The columns that every form is brought to: events and items, as polars frames, with what is wrong with a row."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from dataflows.imports.column_map import Column

EVENTS = pl.Schema(
    {
        "file": pl.String(),
        "line": pl.UInt32(),
        "problem": pl.String(),
        "event_id": pl.String(),
        "user_id": pl.String(),
        "item_id": pl.String(),
        "event_type": pl.String(),
        "timestamp": pl.Int64(),
        "session_id": pl.String(),
        "value": pl.Float64(),
        "context": pl.String(),
    }
)
"""`problem`: why a row is no event, None where it may be one; `timestamp`: Unix ms; `context`: JSON."""
ITEMS = pl.Schema(
    {
        "file": pl.String(),
        "line": pl.UInt32(),
        "problem": pl.String(),
        "item_id": pl.String(),
        "title": pl.String(),
        "text": pl.String(),
        "categories": pl.List(pl.String),
        "tags": pl.List(pl.String),
        "price": pl.Float64(),
        "created_at": pl.Int64(),
        "latitude": pl.Float64(),
        "longitude": pl.Float64(),
        "reach_km": pl.Float64(),
        "attributes": pl.String(),
    }
)
"""As EVENTS; `attributes`: JSON; `latitude`, `longitude`, `reach_km`: of the item's location."""
ORIGIN = ("file", "line", "problem")
"""Columns that say where a row is from, and are not written."""


class Frames(NamedTuple):
    """What was read of a file."""

    events: pl.DataFrame
    """Of EVENTS, in the order of the files."""
    items: pl.DataFrame
    """Of ITEMS; of logs, a row an item of each event."""
    columns: Mapping[str, Column] = {}
    """Of a table: where each field was read from."""


def completed(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Put a frame's columns into a schema's order and types; a column that is missing is empty."""
    return frame.select(
        [
            pl.col(name).cast(kind, strict=False) if name in frame.columns else pl.lit(None, kind).alias(name)
            for name, kind in schema.items()
        ]
    )


def framed(rows: Sequence[Mapping[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    """Make a frame of rows that have all of a schema's columns, and maybe others."""
    return pl.DataFrame(
        {name: pl.Series(name, [row[name] for row in rows], kind, strict=False) for name, kind in schema.items()}
    )


def joined(parts: Sequence[Frames]) -> Frames:
    """Put frames behind each other."""
    return Frames(
        pl.concat([empty(EVENTS), *(part.events for part in parts)]),
        pl.concat([empty(ITEMS), *(part.items for part in parts)]),
    )


def empty(schema: pl.Schema) -> pl.DataFrame:
    """Make a frame without rows."""
    return pl.DataFrame(schema=schema)
