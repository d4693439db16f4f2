import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.segments import EVERYBODY, HOUR_MS, hour_of, segments_of

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
