"""Segment: JSON lines of `track` calls, named as its e-commerce specification (version 2) names them.

https://segment.com/docs/connections/spec/ecommerce/v2 has the events.
"""

from typing import Any

import msgspec

from dataflows.imports.logs import UNREADABLE, Occasion, Product, UnusableError, number, unreadable
from dataflows.imports.times import iso_ms

EVENT_TYPES = {
    "product list viewed": "impression",
    "product clicked": "click",
    "product viewed": "view",
    "product shared": "share",
    "product added to wishlist": "like",
    "product reviewed": "rating",
    "product added": "cart",
    "order completed": "purchase",
}
"""Eddy's event types by Segment's, in small letters; all others are no acts on an item."""


class _SegmentProduct(msgspec.Struct):
    """Platforms send ids as numbers, and numbers as text."""

    product_id: Any = None
    sku: Any = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Any = None
    quantity: Any = None


class _SegmentProperties(_SegmentProduct):
    products: list[_SegmentProduct] = []
    rating: Any = None


class _SegmentDevice(msgspec.Struct):
    type: str | None = None


class _SegmentContext(msgspec.Struct):
    device: _SegmentDevice | None = None
    locale: str | None = None


class SegmentCall(msgspec.Struct):
    """What is read of a call."""

    type: str = "track"
    event: str | None = None
    messageId: str | None = None  # noqa: N815  Segment's names
    userId: Any = None  # noqa: N815
    anonymousId: str | None = None  # noqa: N815
    timestamp: str | None = None
    properties: _SegmentProperties | None = None
    context: _SegmentContext | None = None


def read_line(line: bytes) -> Occasion:
    """Read a call.

    Raises
    ------
    UnusableError : it is none, or no act on an item.
    """
    try:
        call = msgspec.json.decode(line, type=SegmentCall)
    except UNREADABLE as error:
        raise unreadable("Segment call", error) from error
    if call.type != "track" or call.event is None:
        raise UnusableError(f"a `{call.type}` call is no act on an item")
    if (event_type := EVENT_TYPES.get(call.event.lower())) is None:
        raise UnusableError(f"`{call.event}` is no act on an item")
    said = call.properties or _SegmentProperties()
    products = [_product(product) for product in said.products or [said]]
    return Occasion(
        event_type,
        _text(call.userId) or call.anonymousId,
        None if call.timestamp is None else iso_ms(call.timestamp),
        products,
        event_id=call.messageId,
        value=number(said.rating) if event_type == "rating" else None,
        context=_context(call.context or _SegmentContext()),
    )


def _product(product: _SegmentProduct) -> Product:
    return Product(
        _text(product.product_id) or _text(product.sku),
        product.name,
        [product.category] if product.category else [],
        product.brand,
        number(product.price),
        number(product.quantity) or 1.0,
    )


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)


def _context(context: _SegmentContext) -> dict[str, str]:
    found = {"device": context.device.type if context.device else None, "locale": context.locale}
    return {name: value for name, value in found.items() if value}
