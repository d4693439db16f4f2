"""What an import made and what it left out, for the terminal."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dataflows.imports.column_map import Column
from dataflows.imports.skipped import Skipped

N_REASONS = 20
"""Shown; a log may have hundreds of kinds of events."""


class _EventLine(msgspec.Struct):
    user_id: str
    item_id: str
    event_type: str
    timestamp: int


@dataclass(slots=True)
class Lines:
    """Counts lines."""

    n: int = 0

    def add(self, _line: bytes) -> None:
        """Count one."""
        self.n += 1


@dataclass(slots=True)
class EventCounts:
    """Counts events as they are written, in time order."""

    types: Counter[str] = field(default_factory=Counter)
    users: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    first_at: int = 0
    """Unix milliseconds, as `last_at`."""
    last_at: int = 0

    @property
    def n(self) -> int:
        """How many there are."""
        return self.types.total()

    def add(self, line: bytes) -> None:
        """Count the event of a line."""
        event = msgspec.json.decode(line, type=_EventLine)
        if not self.n:
            self.first_at = event.timestamp
        self.last_at = event.timestamp
        self.types[event.event_type] += 1
        self.users.add(event.user_id)
        self.items.add(event.item_id)


def show_columns(path: Path, columns: Mapping[str, Column], console: Console) -> None:
    """Say where the fields of a table were read from."""
    if columns:
        said = ", ".join(f"{name} from {column.name}" for name, column in columns.items())
        console.print(f"{path.name}: {said}", highlight=False, markup=False, soft_wrap=True)


def show_skipped(skipped: Skipped, console: Console) -> None:
    """List the reasons for which rows were left out, the most frequent first."""
    if not skipped.n:
        return
    table = Table("left out because", "rows", "first seen", title=f"{skipped.n:,} rows are left out")
    table.columns[1].justify = "right"
    for reason, n in skipped.counts.most_common(N_REASONS):
        table.add_row(escape(reason), f"{n:,}", escape("; ".join(skipped.places[reason])))
    if others := skipped.counts.most_common()[N_REASONS:]:
        table.add_row(f"{len(others)} other reasons", f"{sum(n for _, n in others):,}", "")
    console.print(table)


def show_events(events: EventCounts, out: Path, console: Console) -> None:
    """Say what was written of events."""
    if not events.n:
        return
    n_users, n_items = len(events.users), len(events.items)
    types = ", ".join(f"{name} {n:,}" for name, n in events.types.most_common())
    days = " to ".join(
        datetime.fromtimestamp(at / 1_000, UTC).date().isoformat() for at in (events.first_at, events.last_at)
    )
    console.print(
        f"{events.n:,} events of {n_users:,} users and {n_items:,} items, {days}, in {out}: {types}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
