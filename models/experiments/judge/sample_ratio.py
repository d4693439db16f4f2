"""An alarm that users did not fall into the variants as planned: then no comparison of them can be trusted."""

import numpy as np
from scipy.special import gammaln

from models.numeric.arrays import Doubles

CONCENTRATION = 10_000.0
"""Users that the prior is worth: large, since broken assignments are off by percents, not by halves."""


def mismatch_p(counts: Doubles, shares: Doubles, concentration: float = CONCENTRATION) -> Doubles:
    """Return a sequential p-value of "users fall into the variants by these shares".

    A variant whose share is 0 tells nothing as long as it has no users, and all as soon as it has one.

    One over the Bayes factor of a Dirichlet-multinomial, centred on the shares, against the planned multinomial
    (Lindon and Malek 2022, Anytime-valid inference for multinomial count data). The probability that it ever falls to p
    is p at most, where all is as planned.

    Parameters
    ----------
    counts : (..., V) users by variant.
    shares : (V,) planned; they sum to 1.

    Returns
    -------
    (...) in [0, 1].
    """
    possible = shares > 0
    has_impossible = (counts[..., ~possible] > 0).any(axis=-1)
    counts, shares = counts[..., possible], shares[possible]
    prior = concentration * shares
    n = counts.sum(axis=-1)
    evidence = (gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
    factor = evidence + gammaln(concentration) - gammaln(concentration + n)
    return np.where(has_impossible, 0.0, np.exp(-np.maximum(factor, 0.0)))
