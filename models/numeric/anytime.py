"""How far a sum may stray by chance, at all looks together: the boundary of a normal mixture.

A fixed-horizon test is wrong in 5% of the cases at one look, and in most of them when one looks until it is
significant. This boundary holds at all looks together (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021,
Time-uniform central limit theory and asymptotic confidence sequences, theorem 2.2).
"""

from math import log

import numpy as np

from models.numeric.arrays import Doubles


def mixture_precision(alpha: float, tuned_at: float) -> float:
    """Return rho squared of the normal mixture whose sequence is tightest at `tuned_at` observations."""
    return (-2 * log(alpha) + log(-2 * log(alpha) + 1)) / tuned_at


def reach(n: Doubles | float, alpha: float, tuned_at: float) -> Doubles:
    """Return how many standard errors wide each side of the confidence sequence is, at n observations.

    sqrt(2 (n rho^2 + 1) / (n rho^2) * ln(sqrt(n rho^2 + 1) / alpha)); a fixed horizon would have 1.96 at alpha = 0.05.
    """
    seen = np.maximum(n, 1) * mixture_precision(alpha, tuned_at)
    return np.asarray(np.sqrt(2 * (seen + 1) / seen * np.log(np.sqrt(seen + 1) / alpha)))
