"""CSV and Parquet: any table, by a map from fields to columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson
import polars as pl

from dataflows.imports.column_map import (
    EVENT_FIELDS,
    ITEM_FIELDS,
    LISTS,
    TIMES,
    Column,
    TableOptions,
    filled,
)
from dataflows.imports.detection import first_line, separator_of
from dataflows.imports.frames import EVENTS, ITEMS, Frames, completed, empty
from dataflows.imports.times import milliseconds

LINE = "__line__"
"""The column in front, of the lines that rows are from."""
USUAL_SEPARATOR = "|"
"""Between the entries of a list."""


def read_text(path: Path, separator: str, names: Sequence[str] | None = None, *, quoted: bool = True) -> pl.DataFrame:
    """Read a text table, all of it as text; a row that is too short ends with nulls, of a longer one the rest is cut.

    Parameters
    ----------
    names : of the columns, where the file has no header.
    """
    frame = pl.read_csv(
        path,
        separator=separator,
        has_header=names is None,
        infer_schema=False,
        quote_char='"' if quoted else None,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
        row_index_name=LINE,
        row_index_offset=2 if names is None else 1,
    )
    return frame if names is None else frame.rename(dict(zip(frame.columns[1:], names, strict=False)))


def read_table(path: Path) -> pl.DataFrame:
    """Read a CSV or Parquet file, a column LINE in front."""
    if path.name.endswith(".parquet"):
        return pl.read_parquet(path).with_row_index(LINE, 1)
    return read_text(path, separator_of(first_line(path)))


def events(path: Path, options: TableOptions) -> Frames:
    """Read a table of events."""
    frame = read_table(path)
    return mapped_events(frame, filled(options.events, frame.columns[1:], EVENT_FIELDS, str(path)), options)


def items(path: Path, options: TableOptions) -> Frames:
    """Read a table of items."""
    frame = read_table(path)
    return mapped_items(frame, filled(options.items, frame.columns[1:], ITEM_FIELDS, str(path)))


def mapped_events(frame: pl.DataFrame, columns: Mapping[str, Column], options: TableOptions) -> Frames:
    """Take the events out of a table.

    A row without a type has that of the options; where they say none, it is a `rating` if it has a value, else a
    `click`.
    """
    found = mapped(frame, columns, EVENT_FIELDS.free)
    usual = options.event_type or ("rating" if "value" in columns else "click")
    kind = pl.col("event_type").fill_null(usual) if "event_type" in columns else pl.lit(usual)
    return Frames(completed(found.with_columns(kind.alias("event_type")), EVENTS), empty(ITEMS), columns)


def mapped_items(frame: pl.DataFrame, columns: Mapping[str, Column]) -> Frames:
    """Take the items out of a table."""
    return Frames(empty(EVENTS), completed(mapped(frame, columns, ITEM_FIELDS.free), ITEMS), columns)


def mapped(frame: pl.DataFrame, columns: Mapping[str, Column], free: str) -> pl.DataFrame:
    """Lay columns out by the names of their fields; those whose names begin with `free` become one of JSON."""
    found = {name: _series(frame[column.name], name, column.form) for name, column in columns.items()}
    own = {name.removeprefix(free): found.pop(name) for name in list(found) if name.startswith(free)}
    if own:
        found[free.removesuffix(".")] = pl.Series(_objects(own), dtype=pl.String)
    return pl.DataFrame({"line": frame[LINE], **found})


def _series(values: pl.Series, name: str, form: str | None) -> pl.Series:
    if name in TIMES:
        return milliseconds(values, form)
    if name in LISTS and values.dtype.base_type() is not pl.List:
        return _texts(values).str.split(form or USUAL_SEPARATOR)
    if name.endswith("_id"):
        return _texts(values)
    return values


def _texts(values: pl.Series) -> pl.Series:
    """Write ids as text: those that a gap in a column of integers has made fractions, without the `.0`."""
    if values.dtype.is_float() and (values.drop_nulls() % 1 == 0).all():
        values = values.cast(pl.Int64)
    return values.cast(pl.String)


def _objects(columns: Mapping[str, pl.Series]) -> list[str | None]:
    """Write a JSON object a row, of what is there."""
    rows = zip(*(values.to_list() for values in columns.values()), strict=True)
    objects = [{name: value for name, value in zip(columns, row, strict=True) if value is not None} for row in rows]
    return [orjson.dumps(found).decode() if found else None for found in objects]
