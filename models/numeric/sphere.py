"""Distances on the Earth, taken for a sphere, between places that are given as unit vectors.

The haversine of the angle between two places is sin²(angle / 2). With phi for latitudes and lambda for longitudes,

    h = sin²((phi2 - phi1) / 2) + cos(phi1) cos(phi2) sin²((lambda2 - lambda1) / 2),    distance = 2 R asin(sqrt(h)),

and between the unit vectors u and v of the places, h = |u - v|² / 4: a place that is a vector already costs no sine,
and near places lose no digits, as they would by the cosine of their angle. Haversines grow as distances do, so a
distance that others are compared with becomes a haversine once. A sphere is off by 0.56% of a distance at most: R is
the mean radius of an ellipsoid whose radius of curvature is 6,335.4 to 6,399.6 km.

References
----------
R. W. Sinnott. Virtues of the haversine. Sky and Telescope 68 (2), 1984.
H. Moritz. Geodetic Reference System 1980. Journal of Geodesy 74, 2000 (the mean radius).
"""

import numpy as np

from models.numeric.arrays import Doubles, Floats
from models.numeric.kernels import kernel

EARTH_KM = 6_371.0088
"""R, the mean radius."""


def unit_vectors(latitudes: Doubles, longitudes: Doubles) -> Doubles:
    """Turn places in degrees, both of any one shape, into unit vectors.

    Returns
    -------
    (..., 3) vectors; nan where a latitude is not within -90 .. 90 or a longitude not within -180 .. 180.
    """
    known = (np.abs(latitudes) <= 90) & (np.abs(longitudes) <= 180)  # of nan it is false
    phi, lam = (np.radians(np.where(known, degrees, np.nan)) for degrees in (latitudes, longitudes))
    vectors: Doubles = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    return vectors


@kernel
def haversines(
    origin: Doubles,  # (3,)
    places: Floats,  # (M, 3)
    found: Doubles,  # (M,) written
) -> None:
    """Write the haversine of each place from one origin; nan where either is unknown."""
    for m in range(len(places)):
        x, y, z = places[m, 0] - origin[0], places[m, 1] - origin[1], places[m, 2] - origin[2]
        found[m] = (x * x + y * y + z * z) / 4


def haversine_of(distance_km: Doubles) -> Doubles:
    """Return the haversine of a distance in km, of whatever shape; -1, below all others, for one below 0."""
    angle = np.minimum(distance_km / EARTH_KM, np.pi)  # half-way round is the farthest
    found: Doubles = np.where(angle < 0, -1.0, np.sin(angle / 2) ** 2)
    return found


def distance_of(found: Doubles) -> Doubles:
    """Return the distance in km of a haversine, of whatever shape."""
    distance_km: Doubles = 2 * EARTH_KM * np.arcsin(np.sqrt(np.minimum(found, 1)))
    return distance_km
