"""GA4, Segment and Snowplow through the readers of lines, and into frames."""

import json
from pathlib import Path
from typing import Any

import pytest

from dataflows.imports import ga4, segment, snowplow
from dataflows.imports.column_map import TableOptions
from dataflows.imports.convert import read_events, usable_events, usable_items
from dataflows.imports.detection import FormatName, detect
from dataflows.imports.lines import event_lines, item_lines
from dataflows.imports.logs import ReadLine, UnusableError
from dataflows.imports.skipped import Skipped
from dataflows.run.settings import EventSettings

AT = 1_700_000_000_123
SHOE = {"item_id": "A", "item_name": "Shoe", "item_brand": "Acme", "item_category": "Men", "item_category2": "Shoes",
        "price": 20.0, "quantity": "2"}  # fmt: skip
PRODUCT_SCHEMA = "iglu:com.snowplowanalytics.snowplow.ecommerce/product/jsonschema/1-0-0"
ACTION_SCHEMA = "iglu:com.snowplowanalytics.snowplow.ecommerce/snowplow_ecommerce_action/jsonschema/1-0-2"


def a_ga4_event(name: str = "view_item", **fields: Any) -> dict[str, Any]:
    return {
        "event_name": name,
        "event_timestamp": str(AT * 1_000 + 456),
        "user_pseudo_id": "device-1",
        "event_params": [
            {"key": "page_title", "value": {"string_value": "Shoes"}},
            {"key": "ga_session_id", "value": {"int_value": "77"}},
        ],
        "device": {"category": "mobile", "language": "de"},
        "geo": {"country": "(not set)"},
        "items": [SHOE],
    } | fields


def a_segment_call(event: str = "Product Viewed", **fields: Any) -> dict[str, Any]:
    product = {"product_id": "A", "name": "Shoe", "brand": "Acme", "category": "Men", "price": 20, "quantity": 2}
    return {
        "type": "track", "event": event, "messageId": "m-1", "anonymousId": "device-1",
        "timestamp": "2023-11-14T22:13:20.123Z", "context": {"locale": "de"}, "properties": product,
    } | fields  # fmt: skip


def a_snowplow_event(action: str = "product_view", **fields: Any) -> dict[str, Any]:
    return {
        "event_id": "e-1",
        "collector_tstamp": "2023-11-14T22:13:25.000Z",
        "derived_tstamp": "2023-11-14T22:13:20.123Z",
        "domain_userid": "device-1",
        "domain_sessionid": "77",
        "dvce_type": "Mobile",
        snowplow.ACTION_KEY: {"type": action},
        snowplow.PRODUCTS_KEY: [
            {"id": "A", "name": "Shoe", "brand": "Acme", "category": "Men/Shoes", "price": 20, "quantity": 2}
        ],
    } | fields


def in_tabs(event: dict[str, Any]) -> bytes:
    """Write a Snowplow event as a line of tab-separated values, as the pipeline does before an SDK makes JSON of it."""
    parts = [""] * 131
    for name in ("event_id", "domain_userid", "domain_sessionid", "dvce_type"):
        parts[snowplow.FIELDS[name]] = event.get(name, "")
    for name in ("collector_tstamp", "derived_tstamp"):
        parts[snowplow.FIELDS[name]] = event[name].replace("T", " ").removesuffix("Z")
    action = {"schema": ACTION_SCHEMA, "data": event[snowplow.ACTION_KEY]}
    parts[snowplow.FIELDS["unstruct_event"]] = json.dumps({"schema": "iglu:x/unstruct_event", "data": action})
    products = [{"schema": PRODUCT_SCHEMA, "data": product} for product in event[snowplow.PRODUCTS_KEY]]
    other = {"schema": "iglu:com.acme/page/jsonschema/1-0-0", "data": {"id": "no product"}}
    parts[snowplow.FIELDS["contexts"]] = json.dumps({"schema": "iglu:x/contexts", "data": [other, *products]})
    return "\t".join(parts).encode() + b"\n"


def converted(path: Path, form: FormatName) -> tuple[list[dict[str, Any]], list[dict[str, Any]], Skipped]:
    skipped, settings = Skipped(), EventSettings()
    read = [read_events(path, form, TableOptions(), lambda _n: None)]
    events = [json.loads(line) for line in event_lines(usable_events(read, TableOptions(), skipped), settings, skipped)]
    items = [json.loads(line) for line in item_lines(usable_items(read, skipped), settings, skipped)]
    return events, items, skipped


@pytest.mark.parametrize(
    ("name", "lines", "form", "session", "context", "categories"),
    [
        ("ga4.jsonl", [a_ga4_event(), a_ga4_event("purchase")], "ga4", "77", {"device": "mobile"}, ["Men", "Shoes"]),
        ("segment.json", [a_segment_call(), a_segment_call("Order Completed", messageId="m-2")], "segment", None,
         {"locale": "de"}, ["Men"]),
        ("snowplow.json", [a_snowplow_event(), a_snowplow_event("transaction", event_id="e-2")], "snowplow", "77",
         {"device": "mobile"}, ["Men", "Shoes"]),
    ],
)  # fmt: skip
def test_a_view_and_a_purchase_are_read_with_their_item(
    tmp_path: Path,
    name: str,
    lines: list[Any],
    form: FormatName,
    session: str | None,
    context: Any,
    categories: list[str],
):
    path = tmp_path / name
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert detect(path) == form
    events, items, skipped = converted(path, form)
    told = {"user_id": "device-1", "item_id": "A", "timestamp": AT, "context": context}
    told |= {"session_id": session} if session else {}
    assert [{name: value for name, value in event.items() if name != "event_id"} for event in events] == [
        told | {"event_type": "view"}, told | {"event_type": "purchase", "value": 40.0},
    ]  # fmt: skip
    assert items == [{"item_id": "A", "title": "Shoe", "categories": categories, "tags": ["Acme"], "price": 20.0}]
    assert skipped.n == 0


def test_snowplow_events_in_tabs_say_the_same_as_in_json(tmp_path: Path):
    events = [a_snowplow_event(), a_snowplow_event("add_to_cart", event_id="e-2"), a_snowplow_event("promo_view")]
    (tmp_path / "good.tsv").write_bytes(b"".join(map(in_tabs, events)))
    (tmp_path / "good.json").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert detect(tmp_path / "good.tsv") == "snowplow"
    in_tsv, in_json = (converted(tmp_path / name, "snowplow") for name in ("good.tsv", "good.json"))
    assert in_tsv[:2] == in_json[:2]
    assert in_tsv[2].counts == in_json[2].counts == {"`promo_view` is no act on an item": 1}


@pytest.mark.parametrize(
    ("read_line", "lines"),
    [
        (ga4.read_line, [{"event_name": "page_view", "event_timestamp": 1}, {"event_name": "view_item"}]),
        (segment.read_line, [{"type": "page", "name": "Home"}, {"type": "track", "event": "Signed Up"}]),
        (snowplow.read_line, [{"event_id": "e", "collector_tstamp": "2023-01-01"}, a_snowplow_event("checkout_step")]),
    ],
)
def test_a_line_that_is_no_act_on_an_item_says_why(read_line: ReadLine, lines: list[Any]):
    for line in (
        *(json.dumps(line).encode() for line in lines),
        b"{broken",
        b"[1]",
        b"\xff",
        b"x\ty",
        b'{"a":' + b"[" * 100_000,
    ):
        with pytest.raises(UnusableError, match=r"no |missing"):
            read_line(line)


def test_an_order_is_an_event_a_product_and_a_call_that_was_sent_twice_counts_once(tmp_path: Path):
    order = a_segment_call(
        "Order Completed",
        userId=7,
        properties={"products": [{"product_id": 1, "price": "2.5"}, {"sku": "B"}, {"name": "nameless"}]},
    )
    unread = [a_segment_call("Coupon Applied", messageId="m-9"), {"type": "identify", "userId": "7"}]
    path = tmp_path / "calls.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in (order, order, *unread)))
    events, items, skipped = converted(path, "segment")
    assert [(event["event_id"], event["user_id"], event["item_id"]) for event in events] == [
        ("m-1-0", "7", "1"), ("m-1-1", "7", "B"),
    ]  # fmt: skip
    assert [item["item_id"] for item in items] == ["1", "B"]
    assert skipped.counts == {
        "no item_id": 2,
        "an event_id that was there before": 2,
        "`Coupon Applied` is no act on an item": 1,
        "a `identify` call is no act on an item": 1,
    }
    assert skipped.places["`Coupon Applied` is no act on an item"] == ["calls.jsonl, line 3"]
