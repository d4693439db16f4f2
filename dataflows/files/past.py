"""Files of events and of a catalog, read whole: what training and backtests work on."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dataflows.codecs import Decoder, catalog_decoder, event_decoder
from dataflows.errors import EddyError
from dataflows.files.replay import read_events
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Event, Item

T = TypeVar("T")


class EventFileError(EddyError):
    """A line of a file is not what it should be; the text says which, and why."""


def load_events(path: Path, settings: EventSettings) -> list[Event]:
    """Read the events of a `.jsonl` or `.jsonl.gz` file, in time order; those of one time keep the file's order.

    Raises
    ------
    EventFileError : a line is no event, or there is none.
    ReplayError : the file cannot be read.
    """
    decode: Decoder[Event] = event_decoder(settings)
    events = _decoded(path, decode)
    if not events:
        raise EventFileError(f"{path} holds no event")
    return sorted(events, key=lambda event: event.timestamp)


def load_items(path: Path, settings: EventSettings) -> list[Item]:
    """Read the items of a catalog file; of an item that is there twice, the later line.

    Raises
    ------
    EventFileError : a line is no item.
    ReplayError : the file cannot be read.
    """
    items = {name: item for name, item in _decoded(path, catalog_decoder(settings)) if item is not None}
    return list(items.values())


def _decoded(path: Path, decode: Callable[[list[Record]], list[T | DeadLetter]]) -> list[T]:
    read_at = int(time.time() * 1_000)
    records = [Record(0, number, read_at, None, line) for number, line in enumerate(read_events(path), 1) if line]
    messages: list[T] = []
    for record, message in zip(records, decode(records), strict=True):
        if isinstance(message, DeadLetter):
            raise EventFileError(f"{path}, line {record.offset}: {message.reason}: {message.detail}")
        messages.append(message)
    return messages
