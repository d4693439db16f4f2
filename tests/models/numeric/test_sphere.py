"""Distances on the Earth, against the haversine formula read literally, and figures that anybody can look up."""

from math import asin, cos, isnan, pi, radians, sin, sqrt

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.numeric.sphere import EARTH_KM, distance_of, haversine_of, haversines, unit_vectors

Place = tuple[float, float]
PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
HALF_WAY_KM = pi * EARTH_KM


def kilometres(one: Place, other: Place) -> float:
    """Measure as the rules do: from a query, to a place that is kept in single precision."""
    found = np.empty(1)
    origin, place = (unit_vectors(*np.array(where)) for where in (one, other))
    haversines(origin, place[None].astype(np.float32), found)
    return float(distance_of(found)[0])


def literally(one: Place, other: Place) -> float:
    """Sinnott's formula."""
    (phi1, lam1), (phi2, lam2) = (map(radians, where) for where in (one, other))
    h = sin((phi2 - phi1) / 2) ** 2 + cos(phi1) * cos(phi2) * sin((lam2 - lam1) / 2) ** 2
    return 2 * EARTH_KM * asin(sqrt(min(1, h)))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0), (0, 90), HALF_WAY_KM / 2),
        ((90, 0), (-90, 0), HALF_WAY_KM),
        ((90, 17), (90, -100), 0),
        ((0, 180), (0, -180), 0),
        ((36.12, -86.67), (33.94, -118.40), 2_886.45),  # the airports of Nashville and Los Angeles, in many textbooks
    ],
)
def test_known_distances_come_out(one: Place, other: Place, expected: float):
    assert kilometres(one, other) == pytest.approx(expected, abs=0.01)


@given(one=PLACES, other=PLACES)
def test_distances_are_those_of_the_formula_to_two_metres_but_near_the_other_side_of_the_earth(
    one: Place, other: Place
):
    expected = literally(one, other)
    assume(expected < 0.99 * HALF_WAY_KM)  # there a metre of a chord is kilometres of an arc
    assert kilometres(one, other) == pytest.approx(expected, abs=0.002, rel=1e-5)


@given(one=PLACES, other=PLACES)
def test_there_is_as_far_as_back_and_nowhere_is_farther_than_half_way_round(one: Place, other: Place):
    there = kilometres(one, other)
    assert 0 <= there <= HALF_WAY_KM
    assert there == pytest.approx(kilometres(other, one), abs=0.002, rel=1e-3)


@given(one=PLACES, two=PLACES, three=PLACES)
def test_a_detour_is_never_shorter(one: Place, two: Place, three: Place):
    assert literally(one, three) <= kilometres(one, two) + kilometres(two, three) + 10


@given(distance_km=st.floats(0, HALF_WAY_KM))
def test_the_haversine_of_a_distance_is_that_of_its_places(distance_km: float):
    assert float(distance_of(haversine_of(np.array(distance_km)))) == pytest.approx(distance_km, abs=1e-3)


@given(some=st.lists(st.floats(-1e6, 1e6), min_size=2))
def test_haversines_grow_as_distances_do(some: list[float]):
    assert (np.diff(haversine_of(np.array(sorted(some)))) >= 0).all()


@pytest.mark.parametrize("where", [(90.1, 0), (0, -180.1), (float("nan"), 0), (0, float("inf")), (1e308, 1e308)])
def test_what_is_no_place_on_earth_is_at_no_distance(where: Place):
    assert isnan(kilometres((0, 0), where))
    assert isnan(kilometres(where, (0, 0)))
