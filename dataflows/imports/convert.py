"""From files of any form to Eddy's events and items: read, put right, in time order, and past the flows' own codecs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from dataflows.errors import EddyError
from dataflows.files.lines import FileError
from dataflows.imports import ga4, movielens, recbole, segment, snowplow, tables
from dataflows.imports.column_map import TableOptions
from dataflows.imports.detection import TITLES, FormatName
from dataflows.imports.frames import ITEMS, ORIGIN, Frames, joined
from dataflows.imports.logs import Progress, ReadLine, read_log
from dataflows.imports.skipped import N_EXAMPLES, Skipped

EVENT_TABLES: dict[FormatName, Callable[[Path, TableOptions], Frames]] = {
    "movielens": movielens.events,
    "recbole": recbole.events,
    "csv": tables.events,
    "parquet": tables.events,
}
ITEM_TABLES: dict[FormatName, Callable[[Path, TableOptions], Frames]] = {
    "movielens": movielens.items,
    "recbole": recbole.items,
    "csv": tables.items,
    "parquet": tables.items,
}
LOGS: dict[FormatName, ReadLine] = {
    "ga4": ga4.read_line,
    "segment": segment.read_line,
    "snowplow": snowplow.read_line,
}
IDS = ("user_id", "item_id", "event_type", "session_id")
COPY = "copy"
"""The column that numbers, from 0, the events that nothing tells from each other."""


def read_events(path: Path, form: FormatName, options: TableOptions, progress: Progress) -> Frames:
    """Read a file of events; a log brings its items with it.

    Raises
    ------
    EddyError : the file cannot be read, or needs to be told more of.
    """
    with _reading(path, form):
        frames = read_log(path, LOGS[form], progress) if form in LOGS else EVENT_TABLES[form](path, options)
    return _from(path, frames)


def read_items(path: Path, form: FormatName, options: TableOptions, progress: Progress) -> Frames:
    """Read a file of items, or a log for the items that it names; raises as `read_events`."""
    with _reading(path, form):
        frames = read_log(path, LOGS[form], progress) if form in LOGS else ITEM_TABLES[form](path, options)
    return _from(path, frames)


def usable_events(read: Sequence[Frames], options: TableOptions, skipped: Skipped) -> pl.DataFrame:
    """Keep what can be an event, in time order (of one time, in the files' order), with COPY.

    Parameters
    ----------
    read : of each file, in the order in which they are to stand.
    skipped : what is left out is added to it.
    """
    frame = joined(read).events.with_columns(pl.col(IDS).str.strip_chars())
    if options.rename:
        frame = frame.with_columns(pl.col("event_type").replace(dict(options.rename)))
    missing = [_missing(name) for name in ("user_id", "item_id", "event_type")]
    no_time = pl.when(pl.col("timestamp").is_null()).then(pl.lit("no time that can be read"))
    frame = _left(frame.with_columns(pl.coalesce("problem", *missing, no_time).alias("problem")), skipped)
    again = pl.col("event_id").is_not_null() & ~pl.col("event_id").is_first_distinct()
    repeats = pl.when(again).then(pl.lit("an event_id that was there before"))
    frame = _left(frame.with_columns(repeats.alias("problem")), skipped).sort("timestamp", maintain_order=True)
    return frame.with_columns(
        pl.int_range(pl.len()).over("user_id", "item_id", "event_type", "timestamp").alias(COPY),
        pl.when(pl.col("session_id") != "").then(pl.col("session_id")).alias("session_id"),
    )


def usable_items(read: Sequence[Frames], skipped: Skipped) -> pl.DataFrame:
    """Keep one row an item: what was said of it last, field by field.

    Parameters
    ----------
    read : of each file; of two, the later one leads.
    skipped : what is left out is added to it.
    """
    frame = joined(read).items.with_columns(pl.col("item_id").str.strip_chars())
    frame = _left(frame.with_columns(pl.coalesce("problem", _missing("item_id")).alias("problem")), skipped)
    said = [name for name in ITEMS if name not in ("item_id", *ORIGIN)]
    newest = [pl.col(name).drop_nulls().last() for name in said]
    return frame.group_by("item_id", maintain_order=True).agg(pl.col("file", "line").last(), *newest)


def _missing(name: str) -> pl.Expr:
    return pl.when(pl.col(name).is_null() | (pl.col(name) == "")).then(pl.lit(f"no {name}"))


def _left(frame: pl.DataFrame, skipped: Skipped) -> pl.DataFrame:
    """Keep the rows without a problem, and count the others."""
    faulty = frame.filter(pl.col("problem").is_not_null())
    for (problem,), rows in faulty.group_by(["problem"], maintain_order=True):
        skipped.add(str(problem), rows.select("file", "line").head(N_EXAMPLES).rows(), rows.height)
    return frame.filter(pl.col("problem").is_null())


def _from(path: Path, frames: Frames) -> Frames:
    """Note on each row which file it is from."""
    file = pl.lit(path.name).alias("file")
    return Frames(frames.events.with_columns(file), frames.items.with_columns(file), frames.columns)


@contextmanager
def _reading(path: Path, form: FormatName) -> Iterator[None]:
    """Say of any library's error which file it is about.

    Raises
    ------
    EddyError : the file cannot be read.
    """
    try:
        yield
    except EddyError:
        raise
    except (OSError, EOFError, ValueError, pl.exceptions.PolarsError) as error:
        raise FileError(f"{path} cannot be read as {TITLES[form]}: {error}") from error
