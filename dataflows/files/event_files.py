"""Files of events and of a catalog, read whole: what training and backtests work on."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dataflows.codecs import catalog_decoder, event_decoder, request_decoder
from dataflows.files.lines import FileError, read_lines
from dataflows.imports.foreign import event_lines, item_lines
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Event, Item, Request

T = TypeVar("T")


def load_events(path: Path, settings: EventSettings) -> list[Event]:
    """Read the events of a file, in time order; those of one time keep the file's order.

    Other forms than Eddy's JSON lines are converted on the way (`dataflows.imports.foreign`).

    Raises
    ------
    FileError : the file cannot be read, a line is no event, or there is none.
    """
    events: list[Event] = _decoded(path, event_lines(path, settings), event_decoder(replace(settings, keys="any")))
    if not events:
        raise FileError(f"{path} holds no event")
    return sorted(events, key=lambda event: event.timestamp)


def load_requests(path: Path, settings: EventSettings) -> list[Request]:
    """Read the requests of a `.jsonl` or `.jsonl.gz` file, in its order.

    Raises
    ------
    FileError : the file cannot be read, or a line is no request.
    """
    return _decoded(path, read_lines(path), request_decoder(replace(settings, keys="any")))


def load_items(path: Path, settings: EventSettings) -> list[Item]:
    """Read the items of a catalog file, of any form as `load_events`; of an item that is there twice, the later line.

    Raises
    ------
    FileError : the file cannot be read, or a line is no item.
    """
    entries = _decoded(path, item_lines(path, settings), catalog_decoder(settings))
    items = {item_id: item for item_id, item in entries if item is not None}
    return list(items.values())


def _decoded(path: Path, lines: Iterable[bytes], decode: Callable[[list[Record]], list[T | DeadLetter]]) -> list[T]:
    read_at = int(time.time() * 1_000)
    records = [Record(0, number, read_at, None, line) for number, line in enumerate(lines, 1) if line]
    messages: list[T] = []
    for record, message in zip(records, decode(records), strict=True):
        if isinstance(message, DeadLetter):
            raise FileError(f"{path}, line {record.offset}: {message.reason}: {message.detail}")
        messages.append(message)
    return messages
