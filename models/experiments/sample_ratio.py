"""An alarm that users did not fall into the variants as planned: then no comparison of them can be trusted."""

import numpy as np
from scipy.special import gammaln

from models.arrays import Doubles

CONCENTRATION = 10_000.0
"""Users that the prior is worth: large, since broken assignments are off by percents, not by halves."""


def mismatch_p(counts: Doubles, shares: Doubles, concentration: float = CONCENTRATION) -> Doubles:
    """Return a sequential p-value of "users fall into the variants by these shares".

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
    prior = concentration * shares
    n = counts.sum(axis=-1)
    evidence = (gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)).sum(axis=-1)
    factor = evidence + gammaln(concentration) - gammaln(concentration + n)
    return np.asarray(np.exp(-np.maximum(factor, 0.0)))
