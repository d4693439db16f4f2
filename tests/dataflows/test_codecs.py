from base64 import b64decode
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.codecs import catalog_decoder, encode, event_decoder
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Event, Item, SlateItem

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
        (b" " * 1_001, "oversized"),
        (None, "empty"),
    ],
)
def test_what_cannot_be_used_becomes_a_letter_with_its_reason_position_and_bytes(value: bytes | None, reason: str):
    letter = decoded(value)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == (reason, "events", 3, 42)
    assert b64decode(letter.payload) == (value or b"")


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


def test_features_are_written_as_numbers():
    item = SlateItem("i", 0, 1.0, "trending", "trending now", 1.0, np.array([0.5, 2.0], np.float32))
    assert orjson.loads(encode(item))["features"] == [0.5, 2.0]  # type: ignore[arg-type]
