from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.codecs import catalog_decoder, encode, erasure_decoder, event_decoder, request_decoder, slate_decoder
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Event, Item, Location, SampledFrom

NOW = 1_700_000_000_000
EVENT = {"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "view", "timestamp": NOW}


def a_record(value: bytes | None, key: bytes | None = b"u") -> Record:
    return Record(3, 42, NOW, key, value)


def decoded(value: bytes | None) -> Event | DeadLetter:
    return event_decoder(EventSettings(max_bytes=1_000))([a_record(value)])[0]


def an_event(**changes: Any) -> bytes:
    return orjson.dumps(EVENT | changes)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"garbage", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b'{"event_id":', "truncated"),
        (an_event(timestamp="soon"), "wrong_type"),
        (an_event(user_id=""), "invalid_value"),
        (an_event(timestamp=-1), "invalid_value"),
        (an_event(item_id="x" * 300), "invalid_value"),
        (an_event(version=2), "invalid_value"),
        (b'{"event_id": "e"}', "missing_field"),
        (an_event(event_type="teleport"), "unknown_event_type"),
        (an_event(timestamp=NOW + 300_001), "future"),
        (an_event(timestamp=NOW // 1_000), "seconds"),
        (an_event(user_id="other"), "wrong_key"),
        (b" " * 1_001, "oversized"),
        (None, "empty"),
    ],
)
def test_what_cannot_be_used_becomes_a_letter_with_its_reason_position_and_bytes(value: bytes | None, reason: str):
    letter = decoded(value)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (reason, "events", 3, 42)
    assert b64decode(letter.payload) == (value or b"")


def at(clock_ms: int) -> Callable[[], datetime]:
    return lambda: datetime.fromtimestamp(clock_ms / 1_000, UTC)


@pytest.mark.parametrize("written_at", [NOW, 2**53 - 1, 2**63 - 1])
def test_a_time_ahead_of_the_clock_is_refused_whatever_time_its_producer_gave_the_record(written_at: int):
    """Records have the producer's time by default: sixty-four of them wiped the popularity of a whole catalog."""
    decode = event_decoder(EventSettings(), at(NOW))
    hostile, honest = (
        decode([Record(0, 0, written_at, b"u", an_event(timestamp=timestamp))])[0]
        for timestamp in (2**53 - 1, NOW + 300_000)
    )
    assert isinstance(hostile, DeadLetter)
    assert hostile.reason == "future"
    assert isinstance(honest, Event)


def test_the_clock_bounds_from_above_alone_and_moves_on():
    """A past is replayed years later; and what was ahead an hour ago is not now."""
    clock = iter([at(NOW)(), at(NOW)(), at(NOW + 3_600_000)()])
    decode = event_decoder(EventSettings(), lambda: next(clock))
    records = [Record(0, 0, 2**53, b"u", an_event(timestamp=t)) for t in (NOW - 10**12, NOW + 10**6, NOW + 10**6)]
    assert [isinstance(message, Event) for message in decode(records)] == [True, False, True]


def test_a_time_in_seconds_is_told_from_one_of_1970():
    letter = decoded(an_event(timestamp=NOW // 1_000))
    assert isinstance(letter, DeadLetter)
    assert "looks like seconds; milliseconds are expected" in letter.detail


@pytest.mark.parametrize("make", [event_decoder, request_decoder, erasure_decoder])
@pytest.mark.parametrize("key", [None, b"", b"other", b"u2", b"\xff"])
def test_a_key_that_is_not_the_messages_user_is_refused_unless_the_settings_allow_it(make: Any, key: bytes | None):
    """Under another key a user's messages lie in several partitions, in no order."""
    record = a_record(an_event(request_id="r", erasure_id="x", requested_at=NOW), key)
    assert make(EventSettings())([record])[0].reason == "wrong_key"
    assert make(EventSettings(keys="any"))([record])[0].user_id == "u"


@pytest.mark.parametrize(
    ("placement", "declared", "reason"),
    [
        ("cart", {"cart"}, None), ("default", {"cart"}, None), (None, {"cart"}, None), ("default", set(), None),
        ("crat", {"cart"}, "unknown_placement"), ("cart", set(), "unknown_placement"), ("cart", None, None),
        ("", {"cart"}, "invalid_value"),
    ],
)  # fmt: skip
def test_a_request_names_a_placement_that_is_declared(placement: str | None, declared: Any, reason: str | None):
    request = {"request_id": "r", "user_id": "u", "timestamp": NOW, "placement": placement}
    message = request_decoder(EventSettings(), placements=declared)([a_record(orjson.dumps(request))])[0]
    assert getattr(message, "reason", None) == reason
    if reason == "unknown_placement":
        assert isinstance(message, DeadLetter)
        assert "placement is none of default" in message.detail


def test_an_item_that_is_still_to_come_out_has_no_date_or_it_would_be_the_newest_for_as_long():
    entries = catalog_decoder(EventSettings(), at(NOW))
    ahead, now, in_seconds = entries([
        Record(0, 0, 2**53, b"a", orjson.dumps({"item_id": "a", "title": "A", "created_at": created_at}))
        for created_at in (NOW + 10**9, NOW, NOW // 1_000)
    ])  # fmt: skip
    assert ahead == ("a", Item("a", title="A"))
    assert now == ("a", Item("a", title="A", created_at=NOW))
    assert isinstance(in_seconds, DeadLetter)
    assert in_seconds.reason == "seconds"


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        ({"latitude": 90.5, "longitude": 0}, "Expected `float` <= 90.0 - at `$.location.latitude`"),
        ({"latitude": 0, "longitude": -180.5}, "Expected `float` >= -180.0 - at `$.location.longitude`"),
        ({"latitude": 0, "longitude": 0, "reach_km": -1}, "Expected `float` >= 0.0 - at `$.location.reach_km`"),
        ({"latitude": 52.5}, "Object missing required field `longitude` - at `$.location`"),
        ({"latitude": "52.5", "longitude": 0}, "Expected `float`, got `str` - at `$.location.latitude`"),
        ({"latitude": float("nan"), "longitude": 0}, "Expected `float`, got `null` - at `$.location.latitude`"),
        ([52.5, 13.4], "Expected `object | null`, got `array` - at `$.location`"),
    ],
)
def test_an_items_location_is_a_place_on_earth_or_the_letter_says_what_is_wrong(location: Any, detail: str):
    read = catalog_decoder(EventSettings(), at(NOW))
    [letter] = read([Record(0, 0, NOW, b"a", orjson.dumps({"item_id": "a", "location": location}))])
    assert isinstance(letter, DeadLetter)
    assert detail in letter.detail


def test_an_items_location_comes_back_as_it_was_written():
    item = Item("a", location=Location(-90, 180, 20_038))
    assert catalog_decoder(EventSettings(), at(NOW))([Record(0, 0, NOW, b"a", encode(item))]) == [("a", item)]


def test_a_time_at_the_edge_of_the_allowed_future_is_taken():
    assert isinstance(decoded(an_event(timestamp=NOW + 300_000)), Event)


def test_a_field_that_is_not_known_is_ignored():
    assert decoded(an_event(colour="red")) == Event(**EVENT)  # type: ignore[arg-type]


@given(st.lists(st.binary(max_size=50)))
def test_no_bytes_stop_the_decoder_and_each_record_gives_one_result(values: list[bytes]):
    assert len(event_decoder(EventSettings())([a_record(value) for value in values])) == len(values)


def test_a_catalog_entry_without_a_value_removes_the_item_of_its_key():
    entries = catalog_decoder(EventSettings())([a_record(b'{"item_id":"a"}'), a_record(None, b"a"), a_record(b"{")])
    assert entries[:2] == [("a", Item("a")), ("a", None)]
    assert isinstance(entries[2], DeadLetter)


def test_arrays_are_written_as_numbers():
    found = SampledFrom(["a", "b"], np.array([0.5, 2.0], np.float32), [0, 0], 5, "", [], [])
    assert orjson.loads(encode(found))["logits"] == [0.5, 2.0]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [1e308, -1e308, 1.1e12])
def test_a_value_that_would_overflow_a_mean_is_refused(value: float):
    """Two of them, of opposite signs, made a user's mean rating no number, for good."""
    letter = decoded(an_event(value=value))
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "invalid_value"
    assert isinstance(decoded(an_event(value=1e12)), Event)


@pytest.mark.parametrize("key", [b"\xff" * 10, b"a" * 257, b"\xc3\xa9" * 260])
def test_a_key_without_a_value_that_is_no_id_is_a_letter_and_not_an_item_to_remove(key: bytes):
    """A tombstone of it on the flow's own topics was larger than any message may be, and the flow never went on."""
    [letter] = catalog_decoder(EventSettings())([a_record(None, key)])
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, b64decode(letter.key or "")) == ("invalid_value", key)
    assert catalog_decoder(EventSettings())([a_record(None, b"a" * 256)]) == [("a" * 256, None)]


def test_a_slate_of_an_item_whose_name_is_no_id_is_a_letter():
    item = {"item_id": "i" * 70_000, "position": 0, "propensity": 1.0}
    slate = {
        "recommendation_id": "r", "user_id": "u", "created_at": 1, "experiment": None, "variant": None,
        "model_version": "m", "feature_set": "", "items": [item],
    }  # fmt: skip
    [letter] = slate_decoder(EventSettings())([a_record(orjson.dumps(slate))])
    assert isinstance(letter, DeadLetter)
    item["item_id"] = "i-1"
    [read] = slate_decoder(EventSettings())([a_record(orjson.dumps(slate))])
    assert not isinstance(read, DeadLetter)
