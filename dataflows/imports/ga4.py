"""Google Analytics 4: JSON lines of the BigQuery export, with its e-commerce events.

https://support.google.com/analytics/answer/7029846 has the fields.
"""

import msgspec

from dataflows.imports.logs import NOT_SET, UNREADABLE, Occasion, Product, UnusableError, unreadable

EVENT_TYPES = {
    "view_item_list": "impression",
    "select_item": "click",
    "view_item": "view",
    "add_to_wishlist": "like",
    "add_to_cart": "cart",
    "purchase": "purchase",
}
"""Eddy's event types by those of GA4; all others are no acts on an item."""


class _Ga4Value(msgspec.Struct):
    string_value: str | None = None
    int_value: int | None = None


class _Ga4Parameter(msgspec.Struct):
    key: str
    value: _Ga4Value | None = None


class _Ga4Device(msgspec.Struct):
    category: str | None = None


class _Ga4Geo(msgspec.Struct):
    country: str | None = None


class _Ga4Item(msgspec.Struct):
    item_id: str | None = None
    item_name: str | None = None
    item_brand: str | None = None
    item_category: str | None = None
    item_category2: str | None = None
    item_category3: str | None = None
    item_category4: str | None = None
    item_category5: str | None = None
    price: float | None = None
    quantity: float | None = None


class Ga4Event(msgspec.Struct):
    """What is read of an exported row; BigQuery writes whole numbers as text."""

    event_name: str
    event_timestamp: int
    """Unix microseconds."""
    user_pseudo_id: str | None = None
    user_id: str | None = None
    event_params: list[_Ga4Parameter] = []
    device: _Ga4Device | None = None
    geo: _Ga4Geo | None = None
    items: list[_Ga4Item] | None = None


def read_line(line: bytes) -> Occasion:
    """Read a row of the export.

    Raises
    ------
    UnusableError : it is none, or no act on an item.
    """
    try:
        event = msgspec.json.decode(line, type=Ga4Event, strict=False)
    except UNREADABLE as error:
        raise unreadable("GA4 event", error) from error
    if (event_type := EVENT_TYPES.get(event.event_name)) is None:
        raise UnusableError(f"`{event.event_name}` is no act on an item")
    return Occasion(
        event_type,
        event.user_id or event.user_pseudo_id,
        event.event_timestamp // 1_000,
        [_product(product) for product in event.items or []],
        session_id=_session(event),
        context=_context(event),
    )


def _product(product: _Ga4Item) -> Product:
    names = (
        product.item_category, product.item_category2, product.item_category3, product.item_category4,
        product.item_category5,
    )  # fmt: skip
    return Product(
        product.item_id,
        product.item_name,
        [name for name in names if name],
        product.item_brand,
        product.price,
        1.0 if product.quantity is None else product.quantity,
    )


def _session(event: Ga4Event) -> str | None:
    """Name the session, which GA4 numbers by user."""
    for parameter in event.event_params:
        if parameter.key == "ga_session_id" and parameter.value is not None and parameter.value.int_value is not None:
            return str(parameter.value.int_value)
    return None


def _context(event: Ga4Event) -> dict[str, str]:
    found = {
        "device": event.device.category if event.device else None,
        "country": event.geo.country if event.geo else None,
    }
    return {name: value for name, value in found.items() if value is not None and value not in NOT_SET}
