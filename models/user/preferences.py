"""What one user prefers among item attributes, learned online by River."""

from functools import cache
from struct import Struct
from typing import Any

import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

from models.numeric.arrays import Hash32s
from models.user.record import N_COMPARED, States, keep, take


class Preferences:
    """A pairwise logistic regression over attributes, shared by all users.

    A user's weights stand in the user's record; those that an action concerns are lent to one River model while it
    learns, and then written back. A model for each user would cost kilobytes, its weights cost some hundred bytes.
    Learning is Bayesian personalised ranking: the model learns that the difference of a preferred item and another one
    is positive.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme. BPR: Bayesian personalized ranking from implicit
    feedback. UAI 2009.

    Parameters
    ----------
    learning_rate : step of the gradient descent, above 0.
    """

    __slots__ = ("_known", "_known_in_kernels", "_learning_rate", "_model", "_pair")

    def __init__(self, learning_rate: float) -> None:
        # An intercept would be shared by all users, and cancels in a difference.
        self._model: Any = linear_model.LogisticRegression(optim.SGD(learning_rate), intercept_lr=0)
        self._learning_rate = learning_rate
        self._pair = np.zeros(2 * N_COMPARED, np.uint32)
        # A Struct hands over the numbers of a buffer several times as fast as numpy does.
        self._known = bytearray(8 * 2 * N_COMPARED)
        self._known_in_kernels = np.frombuffer(self._known)

    def learn(
        self, state: States, item: int, at: int, weight: float, price: float, attributes: Hash32s, negative: Hash32s
    ) -> float:
        """Take an action into a user's record, and learn from it that its item is preferred to another one.

        A step is as large as the action's weight, and fades at the habit's half-life. Attributes of both say nothing
        and are left out. A weight below 0 turns the two round. Without a difference nothing is learned.

        Parameters
        ----------
        state : (1,) record, changed in place.
        attributes, negative : of the item and of one that was not chosen, the most telling ones first.

        Returns
        -------
        The surprise: the probability, in [0, 1], that the weights gave to the opposite; 0.5 knows nothing.
        """
        pair, known = self._pair, self._known_in_kernels
        n_better, n_worse = take(state, item, at, weight, price, attributes, negative, pair, known)
        n = n_better + n_worse
        if n == 0:
            return 0.5
        # Attributes go by their indices in the pair: so the difference of the two items is one of few.
        numbers = _doubles(n)
        weights: dict[int, float] = dict(enumerate(numbers.unpack_from(self._known)))
        before = weights[0]
        # VectorDict wraps the dict, it does not copy: the model's step writes to the weights that were lent.
        self._model._weights = VectorDict(weights)  # noqa: SLF001
        self._model.learn_one(_difference(n_better, n_worse), y=True, w=abs(weight))
        numbers.pack_into(self._known, 0, *weights.values())
        keep(state, at, pair, n, known)
        # A step is the rate times the weight and the surprise, up for the better item's attributes, else down.
        return abs(weights[0] - before) / (self._learning_rate * abs(weight))


@cache
def _doubles(n: int) -> Struct:
    return Struct(f"={n}d")


@cache
def _difference(n_better: int, n_worse: int) -> dict[int, float]:
    """Return the difference of two items: +1 for each attribute of the better one, then -1 for each of the other."""
    return dict(enumerate([1.0] * n_better + [-1.0] * n_worse))


@cache
def shared_preferences(learning_rate: float) -> Preferences:
    """Return the process's one learner with this step."""
    return Preferences(learning_rate)
