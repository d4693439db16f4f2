"""Messages made to stop a flow: each becomes one dead letter, and its neighbours are read."""

from base64 import b64decode
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflows.codecs import catalog_decoder, dead_letter, encode, event_decoder, request_decoder
from dataflows.records import Record
from dataflows.run.settings import EventSettings
from models.messages import DeadLetter, Event, Original

NOW = 1_700_000_000_000
NESTED = b"[" * 20_000 + b"]" * 20_000
NAMES = ["event_id", "request_id", "user_id", "item_id", "event_type", "timestamp", "context", "candidates", "version"]


def a_record(value: bytes) -> Record:
    return Record(3, 42, NOW, b"u", value)


def an_event(**changes: Any) -> bytes:
    return orjson.dumps(
        {"event_id": "e", "user_id": "u", "item_id": "i", "event_type": "view", "timestamp": NOW} | changes
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (an_event()[:-1] + b',"unknown":' + NESTED + b"}", "malformed"),
        (an_event(event_id="?").replace(b"?", b"\\udc00"), "malformed"),
        (an_event()[:-1] + b',"value":1e400}', "wrong_type"),
        (an_event(timestamp=10**18), "invalid_value"),
        (an_event(context={"a": {"b": 1}}), "wrong_type"),
        (an_event(context={str(n): n for n in range(65)}), "invalid_value"),
        (an_event() + an_event(), "malformed"),
        (b"null", "wrong_type"),
        (b"", "truncated"),
    ],
)
def test_a_hostile_event_is_one_letter_and_the_events_beside_it_are_read(value: bytes, reason: str):
    before, letter, after = event_decoder(EventSettings())(
        [a_record(an_event()), a_record(value), a_record(an_event())]
    )
    assert isinstance(before, Event)
    assert isinstance(after, Event)
    assert isinstance(letter, DeadLetter)
    assert letter.reason == reason
    assert (b64decode(letter.payload), b64decode(letter.key or "")) == (value, b"u")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=6),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_json_of_any_shape_gives_one_result_a_record(fields: dict[str, Any]):
    record = a_record(orjson.dumps(fields) if _fits(fields) else b"{}")
    for decode in (event_decoder(EventSettings()), request_decoder(EventSettings()), catalog_decoder(EventSettings())):
        assert len(decode([record, record])) == 2


def _fits(fields: dict[str, Any]) -> bool:
    """Whether JSON's writer takes it: no lone surrogates, no integers beyond 64 bits."""
    try:
        orjson.dumps(fields)
    except orjson.JSONEncodeError:
        return False
    return True


@pytest.mark.parametrize(
    ("key", "value"), [(b"u", b"{" * 1_000_000), (b"u" * 900_000, b"{"), (b"k" * 500_000, b"v" * 500_000)]
)
def test_the_letter_of_the_longest_message_is_one_that_a_topic_takes(key: bytes, value: bytes):
    """A letter longer than the million bytes of the default limits would stop the flow that owes it, for ever."""
    [letter] = event_decoder(EventSettings())([Record(0, 7, NOW, key, value)])
    assert isinstance(letter, DeadLetter)
    assert len(encode(letter)) < 1_000_000
    assert letter.original == Original(len(key), len(value), sha256(value).hexdigest())
    assert value.startswith(b64decode(letter.payload))
    assert key.startswith(b64decode(letter.key or ""))


def test_the_letter_of_a_message_of_half_a_mebibyte_holds_all_of_it():
    value = b"{" * 2**19
    [letter] = event_decoder(EventSettings())([a_record(value)])
    assert isinstance(letter, DeadLetter)
    assert (b64decode(letter.payload), letter.original) == (value, None)


def test_what_a_message_can_put_into_the_detail_is_bounded():
    letter = dead_letter("events", a_record(b"{}"), "malformed", "x" * 10**6)
    assert len(encode(letter)) < 2_000
