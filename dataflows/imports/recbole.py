"""RecBole's atomic files, `.inter` and `.item`: columns with types in their names (recbole.io, Atomic Files)."""

from pathlib import Path

import polars as pl

from dataflows.errors import EddyError
from dataflows.imports.column_map import EVENT_FIELDS, ITEM_FIELDS, LISTS, Column, TableOptions, filled
from dataflows.imports.frames import Frames
from dataflows.imports.tables import mapped_events, mapped_items, read_text


def events(path: Path, options: TableOptions) -> Frames:
    """Read interactions, an event a row.

    Raises
    ------
    EddyError : the rows hold whole sequences, or say nothing of time.
    """
    frame = _read(path)
    if "item_id_list" in frame.columns:
        raise EddyError(
            f"{path} holds sequences of items without a time each: give the `.inter` file they were made of"
        )
    return mapped_events(frame, filled(options.events, frame.columns[1:], EVENT_FIELDS, str(path)), options)


def items(path: Path, options: TableOptions) -> Frames:
    """Read items; lists are separated by blanks."""
    frame = _read(path)
    columns = filled(options.items, frame.columns[1:], ITEM_FIELDS, str(path))
    lists = {name: Column(column.name, column.form or " ") for name, column in columns.items() if name in LISTS}
    return mapped_items(frame, columns | lists)


def _read(path: Path) -> pl.DataFrame:
    frame = read_text(path, "\t", quoted=False)
    return frame.rename({name: name.partition(":")[0] for name in frame.columns[1:]})
