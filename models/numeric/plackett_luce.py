"""How probable each place is for each item where a list is drawn by Plackett and Luce's model, under caps.

The list is drawn place by place: each item in proportion to exp(logit), among those that are not on it yet and whose
category has fewer than a given number of places. The same list comes of exponential clocks: each item's rings once, at
rate exp(logit), and the item is taken where its category has room (Yellott 1977). Up to a moment categories are
independent, so the number of places taken is a sum of independent capped counts; the moment is integrated out.
"""

import numpy as np

from models.numeric.arrays import Doubles, Floats, Hash32s, Int64s
from models.numeric.kernels import inline, kernel

STEP = 0.2
"""Of the trapezoidal rule over the moment's logarithm, whose error falls exponentially with it: here below 1e-8."""
EARLIEST = -21.0
"""Logarithm of the expected number of rings at the first moment: what lies before it is 1e-9."""
LATEST = 3.7
"""Logarithm of the rarest item's at the last: a clock that has not rung by then has a chance of exp(-40)."""


@kernel
def place_probabilities(
    logits: Floats,  # (C,)
    categories: Hash32s,  # (C,) 0: none, which no cap counts
    cap: int,
    item: int,  # the candidate
    probabilities: Doubles,  # (L,) written
) -> None:
    """Write the probability of an item to stand at each place, whatever stands before it."""
    order = np.argsort(categories)  # those of one category lie side by side
    top, total = -np.inf, 0.0
    for c in range(len(logits)):
        top = max(top, np.float64(logits[c]))
    for c in range(len(logits)):
        total += np.exp(logits[c] - top)
    rung = np.empty(len(logits))  # (C,) probability that an item's clock has rung
    totals, counts = np.empty(len(probabilities)), np.empty(len(probabilities))
    probabilities[:] = 0.0
    log_time, latest = EARLIEST - top - np.log(total), LATEST - np.float64(logits[item])
    while log_time < latest:
        own = np.exp(logits[item] + log_time)
        density = own * np.exp(-own)  # of the item's ring, over the moment's logarithm
        if density > 0:
            for c in range(len(logits)):
                rung[c] = -np.expm1(-np.exp(logits[c] + log_time))
            _count_taken(rung, categories, cap, order, item, totals, counts)
            for place in range(len(probabilities)):
                probabilities[place] += STEP * density * totals[place]
        log_time += STEP


@inline
def _count_taken(
    rung: Doubles,  # (C,)
    categories: Hash32s,  # (C,)
    cap: int,
    order: Int64s,  # (C,) candidates by category
    item: int,
    totals: Doubles,  # (L,) written
    counts: Doubles,  # (L,) scratch: probabilities of so many places taken by one category
) -> None:
    """Write how probable it is that so many other items have been taken and the item's category has room."""
    n = len(totals) - 1
    totals[:] = 0.0
    totals[0] = 1.0
    start = 0
    while start < len(order):
        category = categories[order[start]]
        stop = start + 1
        while category != 0 and stop < len(order) and categories[order[stop]] == category:
            stop += 1
        is_own = category != 0 and category == categories[item]
        # Of the item's own category, more than cap - 1 may not have been taken; of another, more rings change nothing.
        most = min(n, stop - start) if category == 0 else min(n, cap - 1 if is_own else cap, stop - start)
        is_capped = category != 0 and not is_own and most == cap
        counts[: most + 1] = 0.0
        counts[0] = 1.0
        for index in range(start, stop):
            if order[index] != item:
                _count_in(counts, most, rung[order[index]], is_capped)
        for k in range(n, -1, -1):
            total = 0.0
            for j in range(min(k, most) + 1):
                total += totals[k - j] * counts[j]
            totals[k] = total
        start = stop


@inline
def _count_in(counts: Doubles, most: int, chance: float, is_capped: bool) -> None:
    """Let one more be counted with a probability; a count at the most stays there if capped, else it is left out."""
    stays = 1 - chance
    counts[most] = counts[most] * (1.0 if is_capped else stays) + (counts[most - 1] * chance if most > 0 else 0.0)
    for j in range(most - 1, -1, -1):
        counts[j] = counts[j] * stays + (counts[j - 1] * chance if j > 0 else 0.0)
