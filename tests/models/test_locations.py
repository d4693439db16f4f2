"""Where a query is: what counts as a location, and that nothing but the rounded one goes on."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ProfileConfig
from models.events import EventConfig
from models.locations import location_of, without_location
from models.messages import Context, Event, Request
from models.strategy import Strategy
from models.user.state import UserState

VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)


@pytest.mark.parametrize(
    ("context", "location"),
    [
        ({"latitude": 52.516275, "longitude": 13.377704}, (52.516, 13.378)),
        ({"latitude": -90, "longitude": 180}, (-90, 180)),
        (None, None),
        ({}, None),
        ({"latitude": 52.5}, None),
        ({"latitude": 52.5, "longitude": None}, None),
        ({"latitude": 90.1, "longitude": 0}, None),
        ({"latitude": 0, "longitude": -181}, None),
        ({"latitude": math.nan, "longitude": 0}, None),
        ({"latitude": math.inf, "longitude": 0}, None),
        ({"latitude": 10**400, "longitude": 0}, None),
        ({"latitude": "52.5", "longitude": "13.4"}, None),
        ({"latitude": True, "longitude": False}, None),
    ],
)
def test_a_location_is_two_numbers_of_degrees_rounded(context: Context | None, location: Any):
    assert location_of(context) == location


@given(latitude=VALUES, longitude=VALUES)
def test_whatever_a_context_says_is_a_location_or_none(latitude: Any, longitude: Any):
    location = location_of({"latitude": latitude, "longitude": longitude})
    assert location is None or (abs(location[0]) <= 90 and abs(location[1]) <= 180)


def test_a_context_loses_its_location_alone():
    assert without_location({"latitude": 1.0, "longitude": 2.0, "device": "tv"}) == {"device": "tv"}
    assert without_location({"device": "tv"}) == {"device": "tv"}
    assert without_location(None) is None


@pytest.mark.parametrize("make", [Event, Request])
def test_a_query_says_where_it_is_only_roughly(make: Any):
    said: Context = {"latitude": 52.516275, "longitude": 13.377704, "device": "tv"}
    fields = {"event_id": "e", "item_id": "i", "event_type": "view"} if make is Event else {"request_id": "r"}
    message = make(user_id="u", timestamp=1, context=said, **fields)
    query = UserState(ProfileConfig(), EventConfig()).due(message, Strategy())
    assert (query.location, query.context) == ((52.516, 13.378), {"device": "tv"})
    assert "52.516275" not in repr(query)


def test_segments_are_not_made_of_locations():
    with pytest.raises(ValueError, match="what trends would keep where users are"):
        EventConfig(segment_fields=("device", "latitude"))
