"""Where a query is: read from the context of its event or request, made coarse, and taken out of the context.

Nothing of a person's location is kept. A query lives until its slate is made; what comes after `location_of`
(segments, requirements, rules) sees a location of some hundred metres, and no context that tells it.
"""

from typing import TypeAlias, TypeGuard

from models.messages import Context, Value
from models.names import LOCATION_FIELDS

Degrees: TypeAlias = tuple[float, float]
"""Latitude and longitude."""
DECIMALS = 3
"""Of a degree: a location is a place of 111 m from north to south, and less from east to west."""


def location_of(context: Context | None) -> Degrees | None:
    """Read where a query is, rounded; None where the context does not say, or says what is no place on Earth.

    >>> location_of({"latitude": 52.516275, "longitude": 13.377704})
    (52.516, 13.378)
    """
    if not context:
        return None
    latitude, longitude = (context.get(name) for name in LOCATION_FIELDS)
    if not (_is_within(latitude, 90) and _is_within(longitude, 180)):
        return None
    return round(float(latitude), DECIMALS), round(float(longitude), DECIMALS)


def without_location(context: Context | None) -> Context | None:
    """Leave out of a context what says where its user is."""
    if not context or not any(name in context for name in LOCATION_FIELDS):
        return context
    return {name: value for name, value in context.items() if name not in LOCATION_FIELDS}


def _is_within(value: Value, most: int) -> TypeGuard[float]:
    """Say whether a value is a number of degrees; nan is within nothing, and a number of any length is compared."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= most
