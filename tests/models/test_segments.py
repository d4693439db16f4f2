import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.segments import EVERYBODY, HOUR_MS, MAX_VALUE, hour_of, segments_of

MIDNIGHT = 19_000 * 24 * HOUR_MS


@pytest.mark.parametrize(
    ("hour", "named"),
    [(0, "night"), (5.99, "night"), (6, "morning"), (12, "afternoon"), (18, "evening"), (23, "evening")],
)
def test_the_day_has_four_parts(hour: float, named: str):
    assert segments_of(("daypart",), {"hour": hour}, MIDNIGHT) == (f"daypart={named}", EVERYBODY)


def test_without_a_context_the_hour_is_that_of_utc():
    assert hour_of(None, MIDNIGHT + 13 * HOUR_MS) == 13
    assert segments_of(("daypart",), None, MIDNIGHT + 13 * HOUR_MS) == ("daypart=afternoon", EVERYBODY)


@pytest.mark.parametrize("hour", [24, -1, "noon", None])
def test_an_hour_that_is_none_is_left_out(hour: object):
    assert hour_of({"hour": hour}, MIDNIGHT + 7 * HOUR_MS) == 7  # type: ignore[dict-item]


def test_the_order_of_the_fields_is_that_of_the_segments():
    context = {"city": "Oslo", "device": "tv", "hour": 1}
    assert segments_of(("device", "daypart", "city", "plan"), context, MIDNIGHT) == (
        "device=tv",
        "daypart=night",
        "city=Oslo",
        EVERYBODY,
    )


@given(
    st.integers(0, 1 << 50), st.none() | st.dictionaries(st.sampled_from(["hour", "device"]), st.integers() | st.text())
)
def test_everybody_is_in_the_last_segment_and_in_one_part_of_the_day(at: int, context: dict[str, int | str] | None):
    *_, part, everybody = segments_of(("device", "daypart"), context, at)
    assert part.startswith("daypart=")
    assert everybody == EVERYBODY


def test_values_that_are_equal_but_written_differently_are_segments_of_their_own():
    """They shared the name of whichever came first, for all users of the process."""
    named = [segments_of(("x",), {"x": value}, 0)[0] for value in (1, 1.0, True, "1", 0, False, -0.0)]
    assert named == ["x=1", "x=1.0", "x=True", "x=1", "x=0", "x=False", "x=-0.0"]


@pytest.mark.parametrize("value", ["x" * (MAX_VALUE + 1), "x" * 60_000, 10**300])
def test_a_long_value_is_no_group_of_users(value: str | int):
    assert segments_of(("device",), {"device": value}, 0) == (EVERYBODY,)
