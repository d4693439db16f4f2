"""Which column of a table is which field: as a person says it, or as the columns' own names suggest it.

It needs no polars.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dataflows.errors import EddyError

LISTS = ("categories", "tags")
TIMES = ("timestamp", "created_at")
SCALES = {"s": (1_000, 1), "ms": (1, 1), "us": (1, 1_000), "ns": (1, 1_000_000)}
"""Milliseconds of each unit of time, as a fraction."""
ISO = "iso"
UNITS = (*SCALES, ISO)
"""What a person may say of a time."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What a table may have."""

    usual_names: Mapping[str, tuple[str, ...]]
    """By field: names that columns go by elsewhere, without case and signs; the first that is there is taken."""
    needed: tuple[str, ...]
    """What no row can do without."""
    free: str
    """Before a name of one's own, as in `context.device`."""
    command: str
    """Of `eddy import`, with places for the file and for the columns that are named by `option`."""
    option: str

    def command_for(self, path: str, missing: Sequence[str]) -> str:
        """Return the command that names the missing columns."""
        columns = " ".join(f"{self.option} {name}=COLUMN" for name in missing)
        return self.command.format(path=shlex.quote(path), columns=columns)


_ITEM_ID = ("itemid", "item", "productid", "movieid", "articleid", "parentasin", "asin", "sku", "isbn")
EVENT_FIELDS = Fields(
    {
        "user_id": ("userid", "user", "visitorid", "customerid", "uid", "reviewerid"),
        "item_id": _ITEM_ID,
        "event_type": ("eventtype", "event", "behaviortype", "behavior", "action"),
        "timestamp": ("timestamp", "eventtime", "time", "ts", "datetime", "unixreviewtime", "date"),
        "session_id": ("sessionid", "usersession", "session"),
        "value": ("rating", "value", "overall"),
        "event_id": ("eventid",),
    },
    ("user_id", "item_id", "timestamp"),
    "context.",
    "eddy import {path} {columns} --out events.jsonl.gz",
    "--map",
)
ITEM_FIELDS = Fields(
    {
        "item_id": _ITEM_ID,
        "title": ("title", "itemname", "productname", "movietitle", "name"),
        "text": ("text", "description"),
        "categories": ("categories", "category", "genres", "genre", "class", "categorycode"),
        "tags": ("tags", "brand"),
        "price": ("price",),
        "created_at": ("createdat",),
        "latitude": ("latitude", "lat"),
        "longitude": ("longitude", "lon", "lng"),
        "reach_km": ("reachkm",),
    },
    ("item_id",),
    "attributes.",
    "eddy import --catalog {path} {columns} --catalog-out catalog.jsonl.gz",
    "--map-item",
)


@dataclass(frozen=True, slots=True)
class Column:
    """Where a field is read from."""

    name: str
    form: str | None = None
    """Of a time: its unit; of a list: what stands between its entries."""


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a person says of tables; of other forms `event_type` and `rename` alone are looked at."""

    events: Mapping[str, Column] = field(default_factory=dict)
    """Columns by the field of an event."""
    items: Mapping[str, Column] = field(default_factory=dict)
    """Columns by the field of an item."""
    event_type: str | None = None
    """Of rows without one."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Eddy's event types by those of the file."""


def parse_columns(texts: Iterable[str], fields: Fields) -> dict[str, Column]:
    """Read `field=column` or `field=column:form`, a field each: of a time one of UNITS, of a list what separates it.

    Raises
    ------
    EddyError : a text is none of these.
    """
    columns: dict[str, Column] = {}
    for text in texts:
        name, equals, column = text.partition("=")
        known = name in fields.usual_names or name.removeprefix(fields.free) not in ("", name)
        if not equals or not column or not known:
            names = ", ".join(fields.usual_names)
            raise EddyError(f"{text!r}: say FIELD=COLUMN, where FIELD is one of {names} or {fields.free}NAME")
        if name in columns:
            raise EddyError(f"{text!r}: {name} is read from {columns[name].name!r} already; name it once")
        columns[name] = _column(name, column)
    return columns


def _column(name: str, text: str) -> Column:
    before, colon, form = text.rpartition(":")
    if name in LISTS and colon and before:
        return Column(before, form or None)
    if name in TIMES and colon and before:
        if form not in UNITS:
            raise EddyError(f"{name}={text}: {form!r} is no unit; say one of {', '.join(UNITS)}, or leave it out")
        return Column(before, form)
    return Column(text)


def filled(said: Mapping[str, Column], columns: Sequence[str], fields: Fields, where: str) -> dict[str, Column]:
    """Say where each field is read from: as said, else from a column of a usual name.

    Parameters
    ----------
    where : the file, for the error.

    Raises
    ------
    EddyError : a column is not there, or a field that is needed has none.
    """
    for name, column in said.items():
        if column.name not in columns:
            raise EddyError(f"{where} has no column {column.name!r} for {name}: there are {', '.join(columns)}")
    by_plain_name = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(columns)}
    taken = {column.name for column in said.values()}
    found = dict(said)
    for name, usual in fields.usual_names.items():
        known = (by_plain_name[plain] for plain in usual if plain in by_plain_name)
        column_name = next((column for column in known if column not in taken), None)
        if name not in found and column_name is not None:
            found[name] = Column(column_name)
            taken.add(column_name)
    if missing := [name for name in fields.needed if name not in found]:
        raise EddyError(
            f"{where}: no column is known to be {' or '.join(missing)}; there are {', '.join(columns)}. "
            f"Say which it is: {fields.command_for(where, missing)}"
        )
    return found
