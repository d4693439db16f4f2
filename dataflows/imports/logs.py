"""Logs of JSON lines or tab-separated values: an occasion a line, on which a user did one thing with some products."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import orjson

from dataflows.files.lines import open_lines
from dataflows.imports.frames import EVENTS, ITEMS, Frames, framed, joined

READ_AT_ONCE = 50_000
NOT_SET = {"", "(not set)", "null"}
"""What stands for nothing."""


class UnusableError(ValueError):
    """A line is no occasion of interest; the text says why, alike for all lines of this kind."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a log says of an item."""

    item_id: str | None
    title: str | None = None
    categories: list[str] = field(default_factory=list)
    """From the widest to the narrowest."""
    brand: str | None = None
    price: float | None = None
    quantity: float = 1.0


@dataclass(frozen=True, slots=True)
class Occasion:
    """One line."""

    event_type: str
    """Eddy's."""
    user_id: str | None
    timestamp: int | None
    """Unix milliseconds."""
    products: list[Product]
    event_id: str | None = None
    session_id: str | None = None
    value: float | None = None
    """A rating; what a purchase is worth follows from the products."""
    context: dict[str, str] = field(default_factory=dict)


UNREADABLE = msgspec.DecodeError, UnicodeDecodeError, RecursionError
"""What a decoder raises of a line; the last where it is nested deeper than the decoder's stack."""


def unreadable(what: str, error: Exception) -> UnusableError:
    """Say that a line is not what it should be, without where in the line: lines of a kind are counted together."""
    return UnusableError(f"no {what}: {error if isinstance(error, msgspec.ValidationError) else 'not JSON'}")


ReadLine: TypeAlias = Callable[[bytes], Occasion]
"""Reads a line; raises UnusableError."""
Progress: TypeAlias = Callable[[int], object]
"""Called with the lines that were read since the last call."""


def read_log(path: Path, read_line: ReadLine, progress: Progress) -> Frames:
    """Read a log, plain or `.gz`, as events and as the items that they name."""
    parts = []
    with open_lines(path) as lines:
        numbered = enumerate(lines, 1)
        while chunk := list(islice(numbered, READ_AT_ONCE)):
            rows = [row for number, line in chunk if not line.isspace() for row in _rows(number, line, read_line)]
            named = [row for row in rows if row["item_id"] is not None]
            parts.append(Frames(framed(rows, EVENTS), framed(named, ITEMS)))
            progress(len(chunk))
    return joined(parts)


def _rows(number: int, line: bytes, read_line: ReadLine) -> Iterator[dict[str, Any]]:
    """Give a row a product, with the columns of EVENTS and of ITEMS; of an unusable line, one with its problem."""
    empty = dict.fromkeys((*EVENTS, *ITEMS))
    try:
        occasion = read_line(line)
    except UnusableError as error:
        yield empty | {"line": number, "problem": str(error)}
        return
    if not occasion.products:
        yield empty | {"line": number, "problem": f"a {occasion.event_type} that names no item"}
    for place, product in enumerate(occasion.products):
        event_id = occasion.event_id
        if event_id is not None and len(occasion.products) > 1:
            event_id = f"{event_id}-{place}"
        yield empty | {
            "line": number,
            "event_id": event_id,
            "user_id": occasion.user_id,
            "item_id": None if product.item_id in NOT_SET else product.item_id,
            "event_type": occasion.event_type,
            "timestamp": occasion.timestamp,
            "session_id": occasion.session_id,
            "value": _worth(occasion, product),
            "context": orjson.dumps(occasion.context).decode() if occasion.context else None,
            "title": product.title,
            "categories": [name for name in product.categories if name not in NOT_SET] or None,
            "tags": None if product.brand is None or product.brand in NOT_SET else [product.brand],
            "price": product.price,
        }


def number(value: Any) -> float | None:
    """Read a number that may be written as text; None: it is none."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _worth(occasion: Occasion, product: Product) -> float | None:
    if occasion.event_type == "purchase" and product.price is not None:
        return product.price * product.quantity
    return occasion.value
