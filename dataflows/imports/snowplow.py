"""Snowplow: enriched events, as tab-separated values or as the analytics SDKs' JSON, with its e-commerce actions.

What is read: self-describing events `snowplow_ecommerce_action` with `product` entities, of any version 1 of each
schema (docs.snowplow.io, Ecommerce events). Older `transaction_item` events and schemas of one's own are not.
"""

from typing import Any

import msgspec

from dataflows.imports.logs import UNREADABLE, Occasion, Product, UnusableError, unreadable
from dataflows.imports.times import iso_ms

EVENT_TYPES = {
    "list_view": "impression",
    "list_click": "click",
    "product_view": "view",
    "add_to_cart": "cart",
    "transaction": "purchase",
}
"""Eddy's event types by the action's; all others are no acts on an item."""
FIELDS = {
    "collector_tstamp": 3, "event_id": 6, "user_id": 12, "domain_userid": 15, "network_userid": 17, "geo_country": 18,
    "contexts": 52, "unstruct_event": 58, "dvce_type": 101, "domain_sessionid": 123, "derived_tstamp": 124,
}  # fmt: skip
"""Where each field stands in a line of tab-separated values."""
VENDOR = "com.snowplowanalytics.snowplow.ecommerce"
ACTION = "snowplow_ecommerce_action"
ACTION_KEY = "unstruct_event_com_snowplowanalytics_snowplow_ecommerce_snowplow_ecommerce_action_1"
PRODUCTS_KEY = "contexts_com_snowplowanalytics_snowplow_ecommerce_product_1"
NO_ACTION = f"no `{ACTION}`"


class _SnowplowAction(msgspec.Struct):
    type: str


class _SnowplowProduct(msgspec.Struct):
    id: str | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    quantity: float | None = None


class _SelfDescribing(msgspec.Struct):
    schema: str
    data: msgspec.Raw = msgspec.Raw(b"null")


class _SnowplowEnvelope(msgspec.Struct):
    data: _SelfDescribing


class _SnowplowEntities(msgspec.Struct):
    data: list[_SelfDescribing] = []


class SnowplowEvent(msgspec.Struct):
    """What is read of an enriched event, whichever way it is written."""

    event_id: str | None = None
    collector_tstamp: str | None = None
    derived_tstamp: str | None = None
    user_id: str | None = None
    domain_userid: str | None = None
    network_userid: str | None = None
    domain_sessionid: str | None = None
    geo_country: str | None = None
    dvce_type: str | None = None
    action: _SnowplowAction | None = msgspec.field(default=None, name=ACTION_KEY)
    products: list[_SnowplowProduct] = msgspec.field(default_factory=list, name=PRODUCTS_KEY)


def read_line(line: bytes) -> Occasion:
    """Read an enriched event.

    Raises
    ------
    UnusableError : it is none, or no act on an item.
    """
    try:
        event = msgspec.json.decode(line, type=SnowplowEvent, strict=False) if line.startswith(b"{") else _of_tabs(line)
    except UNREADABLE as error:
        raise unreadable("enriched event", error) from error
    if event.action is None:
        raise UnusableError(NO_ACTION)
    if (event_type := EVENT_TYPES.get(event.action.type)) is None:
        raise UnusableError(f"`{event.action.type}` is no act on an item")
    at = event.derived_tstamp or event.collector_tstamp
    context = {"device": (event.dvce_type or "").lower(), "country": event.geo_country or ""}
    return Occasion(
        event_type,
        event.user_id or event.domain_userid or event.network_userid,
        None if at is None else iso_ms(at),
        [_product(product) for product in event.products],
        event_id=event.event_id,
        session_id=event.domain_sessionid,
        context={name: value for name, value in context.items() if value},
    )


def _of_tabs(line: bytes) -> SnowplowEvent:
    parts = line.decode().rstrip("\r\n").split("\t")
    if len(parts) <= FIELDS["derived_tstamp"]:
        raise UnusableError(f"no enriched event: fewer than {FIELDS['derived_tstamp'] + 1} fields")
    found: dict[str, Any] = {name: parts[place] or None for name, place in FIELDS.items()}
    action, entities = found.pop("unstruct_event"), found.pop("contexts")
    if action is not None:
        said = msgspec.json.decode(action, type=_SnowplowEnvelope).data
        if said.schema.startswith(f"iglu:{VENDOR}/{ACTION}/jsonschema/1-"):
            found["action"] = msgspec.json.decode(said.data, type=_SnowplowAction)
    if entities is not None:
        found["products"] = [
            msgspec.json.decode(entity.data, type=_SnowplowProduct, strict=False)
            for entity in msgspec.json.decode(entities, type=_SnowplowEntities).data
            if entity.schema.startswith(f"iglu:{VENDOR}/product/jsonschema/1-")
        ]
    return SnowplowEvent(**found)


def _product(product: _SnowplowProduct) -> Product:
    return Product(
        product.id,
        product.name,
        [name for name in (product.category or "").split("/") if name],
        product.brand,
        product.price,
        1.0 if product.quantity is None else product.quantity,
    )
