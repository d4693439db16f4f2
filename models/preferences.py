"""What one user prefers among item attributes, learned online by River."""

from functools import cache
from math import exp
from typing import Any

import numpy as np
from river import linear_model, optim
from river.utils import VectorDict

from models.arrays import Hash32s
from models.profile_state import N_COMPARED, States, keep, take


class Preferences:
    """A pairwise logistic regression over attributes, shared by all users.

    A user's weights stand in the user's record; those that an action concerns are lent to one River model while it
    learns, and then written back. A model for each user would cost kilobytes, its weights cost some hundred bytes.
    Learning is Bayesian personalised ranking: the model is told that the difference of a preferred item and another one
    is positive.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme. BPR: Bayesian personalized ranking from implicit
    feedback. UAI 2009.

    Parameters
    ----------
    learning_rate : step of the gradient descent, above 0.
    """

    __slots__ = ("_known", "_model", "_pair", "_signs")

    def __init__(self, learning_rate: float) -> None:
        # An intercept would be shared by all users, and cancels in a difference.
        self._model: Any = linear_model.LogisticRegression(optim.SGD(learning_rate), intercept_lr=0)
        self._pair = np.zeros(2 * N_COMPARED, np.uint32)
        self._signs = np.zeros(2 * N_COMPARED)
        self._known = np.zeros(2 * N_COMPARED)

    def learn(
        self, state: States, item: int, at: int, weight: float, price: float, attributes: Hash32s, negative: Hash32s
    ) -> float:
        """Take an action into a user's record, and learn from it that its item is preferred to another one.

        Attributes of both say nothing and are left out. A weight below 0 turns the two round. Without a difference
        nothing is learned.

        Parameters
        ----------
        state : (1,) record, changed in place.
        attributes, negative : of the item and of one that was not chosen, the most telling ones first.

        Returns
        -------
        The surprise: the probability, in [0, 1], that the weights gave to the opposite; 0.5 knows nothing.
        """
        n = take(state, item, at, weight, price, attributes, negative, self._pair, self._signs, self._known)
        if n == 0:
            return 0.5
        names = self._pair[:n].tolist()
        weights = dict(zip(names, self._known[:n].tolist(), strict=True))
        difference = dict(zip(names, self._signs[:n].tolist(), strict=True))
        logit = sum([weights[name] * sign for name, sign in difference.items()])
        # VectorDict wraps the dict, it does not copy: the model's step writes to the weights that were lent.
        self._model._weights = VectorDict(weights)  # noqa: SLF001
        self._model.learn_one(difference, y=True)
        self._known[:n] = list(weights.values())
        keep(state, at, self._pair, n, self._known)
        return 1.0 / (1.0 + exp(min(logit, 700.0)))


@cache
def shared_preferences(learning_rate: float) -> Preferences:
    """Return the process's one learner with this step."""
    return Preferences(learning_rate)
