"""Exponentially decayed sums that do not depend on the order of arrival."""

from collections.abc import Iterable
from typing import NamedTuple

MAX_HALF_LIVES = 32
"""Half-lives that a weight may lie ahead of the landmark before all are renormalised: far from overflow."""


class Landmark(NamedTuple):
    """What forward-decayed weights of two half-lives refer to: as of time t, w is ``w * 2^((t - at) / half_life)``."""

    at: int
    """Unix ms."""
    half_life_short_ms: int
    half_life_long_ms: int


class DecayedSums:
    """Sums of weights by key, each halved every half-life.

    Forward decay: a weight of time t is stored as ``weight * 2 ** ((t - landmark) / half_life)``, so that
    adding touches one sum, time costs nothing, and the order of arrival does not matter.

    References
    ----------
    G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu. Forward decay: a practical time decay model for streaming
    systems. ICDE 2009.

    Parameters
    ----------
    half_life_ms : milliseconds after which a sum has halved.
    """

    __slots__ = ("half_life_ms", "landmark", "scaled")

    def __init__(self, half_life_ms: int) -> None:
        self.half_life_ms = half_life_ms
        self.landmark = 0
        """Unix milliseconds at which a scaled sum equals the sum."""
        self.scaled: dict[int, float] = {}
        """Key to the sum as it would read at the landmark."""

    def add(self, keys: Iterable[int], weight: float, at: int) -> None:
        """Add one weight of time `at`, Unix milliseconds, to each key."""
        if at - self.landmark > MAX_HALF_LIVES * self.half_life_ms:
            self._renormalise(at)
        weight *= 2.0 ** ((at - self.landmark) / self.half_life_ms)
        scaled = self.scaled
        for key in keys:
            scaled[key] = scaled.get(key, 0.0) + weight

    def factor(self, at: int) -> float:
        """Return what turns a scaled sum into the sum at `at`, which is no earlier than the newest weight."""
        return float(2.0 ** ((self.landmark - at) / self.half_life_ms))

    def at(self, at: int) -> dict[int, float]:
        """Return all sums, decayed to `at`, which is no earlier than the newest weight."""
        factor = self.factor(at)
        return {key: value * factor for key, value in self.scaled.items()}

    def restore(self, scaled: dict[int, float], landmark: int, half_life_ms: int, at: int) -> None:
        """Take over scaled sums of another time, whose half-life may have differed.

        They are then read at `at`, no earlier than the newest weight, and decay by this half-life from there.
        """
        own_half_life_ms, self.half_life_ms = self.half_life_ms, half_life_ms
        self.scaled, self.landmark = scaled, landmark
        if own_half_life_ms != half_life_ms:
            self._renormalise(at)
        self.half_life_ms = own_half_life_ms

    def _renormalise(self, landmark: int) -> None:
        self.scaled = self.at(landmark)
        self.landmark = landmark


def strongest(strengths: dict[int, float], limit: int) -> list[int]:
    """Return the keys to keep of a dict that has outgrown its limit.

    Those are the keys with the largest absolute values; of equals, the older ones. Only three quarters of the
    limit stay, so that the search is paid once in many additions.
    """
    by_strength = sorted(strengths, key=lambda key: abs(strengths[key]), reverse=True)
    return by_strength[: max(limit * 3 // 4, 1)]
