"""What users add up to: sums by metric, which may be streamed, merged and corrected, and the tail of their spending.

A user counts once, and for as much as the weight that comes of the shares by which the variant was chosen
(`models.experiments.assign.traffic.weight_of`); its square says how precise the sums are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor, log2

import numpy as np

from models.experiments.judge.metrics import INDEX_OF, METRICS
from models.experiments.judge.moments import N_VALUES, gram
from models.numeric.arrays import Doubles

SHAPE = (2, len(METRICS), N_VALUES + 1, N_VALUES + 1)
VALUE = INDEX_OF["value"]
BINS_AN_OCTAVE = 4
"""Bins of what a user spent, each 19% wide."""
MIN_SPENDERS = 100
"""Users who had spent something, below whom nothing is known of the tail."""

Values = list[list[float]]
"""(M, 4) of a user, in the order of METRICS."""


@dataclass(slots=True)
class Sums:
    """Sums over users of one variant."""

    users: int = 0
    grams: Doubles = field(default_factory=lambda: np.zeros(SHAPE))
    """(2, M, 5, 5) of `gram`, times each user's weight and times its square."""
    tail: dict[int, Doubles] = field(default_factory=dict)
    """(2, 5, 5) of the metric `value`, over the users who spent something, by `bin_of` what they spent."""
    spent_before: dict[int, int] = field(default_factory=dict)
    """Users by `bin_of` what they had spent before their exposure."""

    def add(self, other: "Sums", sign: int = 1) -> None:
        """Add the sums of other users, or take them away."""
        self.users += sign * other.users
        self.grams += sign * other.grams
        for spent, part in other.tail.items():
            self.tail[spent] = self.tail.get(spent, 0.0) + sign * part
        for spent, users in other.spent_before.items():
            self.spent_before[spent] = self.spent_before.get(spent, 0) + sign * users

    def winsorised(self, cap: int | None) -> Doubles:
        """Return the grams (2, M, 5, 5) as if nobody had spent more than the upper edge of a bin; None: no cap."""
        beyond = [part for spent, part in self.tail.items() if cap is not None and spent > cap]
        if cap is None or not beyond:
            return self.grams
        grams, part = self.grams.copy(), np.sum(beyond, axis=0)
        capped = part.copy()
        # What each spent becomes one number, so its products are that number's with the sums of the others.
        capped[:, 1, :] = capped[:, :, 1] = upper_edge(cap) * part[:, 0, :]
        capped[:, 1, 1] = upper_edge(cap) ** 2 * part[:, 0, 0]
        grams[:, VALUE] += capped - part
        return grams


def sums_of(users: Sequence[tuple[Values, float]]) -> Sums:
    """Add up some users, each given by the values (M, 4) and the weight."""
    if not users:
        return Sums()
    weights = np.array([weight for _, weight in users])
    grams = gram(np.array([values for values, _ in users]))  # (N, M, 5, 5)
    powers = np.array([weights, weights**2])  # (2, N)
    found = Sums(len(users), np.tensordot(powers, grams, axes=1))
    for n, (values, _) in enumerate(users):
        spent, _, before, _ = values[VALUE]
        if spent > 0:
            part = powers[:, n, None, None] * grams[n, VALUE]
            found.tail[bin_of(spent)] = found.tail.get(bin_of(spent), 0.0) + part
        if before > 0:
            found.spent_before[bin_of(before)] = found.spent_before.get(bin_of(before), 0) + 1
    return found


def bin_of(spent: float) -> int:
    """Return the bin of an amount above 0."""
    return floor(BINS_AN_OCTAVE * log2(spent))


def upper_edge(spent: int) -> float:
    """Return the amount up to which a bin reaches."""
    return float(2 ** ((spent + 1) / BINS_AN_OCTAVE))


def quantile_bin(spent_before: dict[int, int], quantile: float) -> int | None:
    """Find the bin that holds a quantile of what users had spent; None where too few had, or all of it counts.

    What was spent before an exposure owes nothing to a variant, so a cap that comes of it favours none.
    """
    bins = sorted(spent_before)
    counts = np.cumsum([spent_before[spent] for spent in bins])
    if quantile >= 1 or not bins or counts[-1] < MIN_SPENDERS:
        return None
    return bins[int(np.searchsorted(counts, quantile * counts[-1]))]
