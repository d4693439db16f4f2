"""How sure a figure is: users are drawn again, not predictions, since those of one user go together."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from models.numeric.arrays import Doubles, Int64s

N_DRAWS = 2_000
_CELLS = 4_000_000
"""Draws times users that are held at once."""


class Units:
    """Predictions grouped by the user that they were made for.

    Parameters
    ----------
    names : (n,) whose prediction each is.
    seed : the same seed gives the same draws.
    """

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        _, indices = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
        self._unit_of: Int64s = indices.astype(np.int64)
        self._sizes: Doubles = np.bincount(self._unit_of).astype(np.float64)
        self._seed = seed

    def interval(self, values: Doubles) -> tuple[float, float]:
        """Bound the mean of (n,) values: 95% percentile bootstrap over users (Efron, 1979)."""
        sums = self._sums(values)
        n = len(sums)
        if not n:
            return 0.0, 0.0
        rng = np.random.default_rng(self._seed)
        means = np.concatenate(
            [(drawn @ sums) / (drawn @ self._sizes) for drawn in _parts(lambda m: _resamples(rng, m, n), n)]
        )
        low, high = np.quantile(means, [0.025, 0.975]).tolist()
        return low, high

    def p_value(self, differences: Doubles) -> float:
        """Test that (n,) paired differences are 0 on average, two-sided.

        Under that hypothesis each user's sum might as well have had the other sign: a randomisation test (Fisher, 1935;
        Smucker, Allan and Carterette, 2007, for retrieval).
        """
        sums = self._sums(differences)
        sums = sums[sums != 0]
        if not len(sums):
            return 1.0
        rng = np.random.default_rng(self._seed)
        observed = abs(sums.sum()) - 1e-9
        as_far = sum(
            int((np.abs(signs @ sums) >= observed).sum())
            for signs in _parts(lambda m: rng.choice([-1.0, 1.0], (m, len(sums))), len(sums))
        )
        return (1 + as_far) / (1 + N_DRAWS)

    def _sums(self, values: Doubles) -> Doubles:
        return np.bincount(self._unit_of, values, len(self._sizes)).astype(np.float64)


def _resamples(rng: np.random.Generator, m: int, n: int) -> Doubles:
    """(m, n) how often each of n users is drawn, n at a time with replacement."""
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(m)]).astype(np.float64)


def _parts(draw: Callable[[int], Doubles], n: int) -> Iterator[Doubles]:
    """Make all draws, as many at a time as memory is given for."""
    left = N_DRAWS
    while left:
        m = min(left, max(1, _CELLS // n))
        yield draw(m)
        left -= m
