"""What the topics hold of the past, decoded, for commands that look at all of it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import typer

from dataflows.cli.personal_data import records_of
from dataflows.codecs import catalog_decoder, erasure_decoder, event_decoder
from dataflows.following.erasures import Erasures
from dataflows.records import Record
from dataflows.run.settings import Settings
from dataflows.topics import CATALOG, ERASURES, EVENTS
from models.messages import DeadLetter, Event, Item

T = TypeVar("T")
DECODED_AT_ONCE = 1_000


def known(decode: Callable[[list[Record]], list[T | DeadLetter]], records: Iterator[Record]) -> Iterator[T]:
    """Decode records; what cannot be read is left out, and told."""
    left_out: Counter[str] = Counter()
    while batch := list(islice(records, DECODED_AT_ONCE)):
        for message in decode(batch):
            if isinstance(message, DeadLetter):
                left_out[f"{message.topic}: {message.reason}"] += 1
            else:
                yield message
    for what, n in sorted(left_out.items()):
        typer.secho(f"left out: {n:,} of {what}", fg="yellow", err=True)


def events_of(settings: Settings) -> Iterator[Event]:
    """Give the events of all users but what they did before they asked to be forgotten."""
    # Lines of files have no keys.
    messages = replace(settings.events, keys="any") if settings.topics.folder else settings.events
    erased = Erasures(limit=settings.privacy.max_erased)
    erased.take(known(erasure_decoder(messages), records_of(settings, ERASURES.name)))
    for event in known(event_decoder(messages), records_of(settings, EVENTS.name)):
        if not erased.covers(event.user_id, event.timestamp, event.timestamp):
            yield event


def items_of(settings: Settings) -> dict[str, Item]:
    """Give the items that the catalog holds, by id."""
    items: dict[str, Item] = {}
    for item_id, item in known(catalog_decoder(settings.events), records_of(settings, CATALOG.name)):
        if item is None:
            items.pop(item_id, None)
        else:
            items[item_id] = item
    return items
