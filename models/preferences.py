"""What one user prefers among item attributes, learned online by River."""

from collections.abc import Iterable
from functools import cache
from typing import Any

from river import linear_model, optim
from river.utils import VectorDict

from models.decay import strongest


class Preferences:
    """A pairwise logistic regression over attributes, shared by all users.

    Each user's weights are a plain dict that is lent to one River model while it learns: a model for each
    user would cost kilobytes, its weights cost some hundred bytes. Learning is Bayesian personalised ranking:
    the model is told that the difference of a preferred item and another one is positive.

    References
    ----------
    S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme. BPR: Bayesian personalized ranking from
    implicit feedback. UAI 2009.

    Parameters
    ----------
    learning_rate : step of the gradient descent, above 0.
    max_weights : attributes kept for a user; the weakest make room.
    """

    __slots__ = ("_max_weights", "_model")

    def __init__(self, learning_rate: float, max_weights: int) -> None:
        # An intercept would be shared by all users, and cancels in a difference.
        self._model: Any = linear_model.LogisticRegression(optim.SGD(learning_rate), intercept_lr=0)
        self._max_weights = max_weights

    def learn(self, weights: dict[int, float], positive: Iterable[int], negative: Iterable[int]) -> float:
        """Learn in place that an item with the attributes `positive` is preferred to one with `negative`.

        Attributes of both say nothing and are left out. Without a difference nothing is learned.

        Returns
        -------
        The surprise: the probability, in [0, 1], that the weights gave to the opposite; 0.5 knows nothing.
        """
        difference = dict.fromkeys(positive, 1.0)
        for attribute in negative:
            if difference.pop(attribute, None) is None:
                difference[attribute] = -1.0
        if not difference:
            return 0.5
        model = self._model
        # VectorDict wraps the dict, it does not copy: the model's step writes to the user's own weights.
        model._weights = VectorDict(weights)  # noqa: SLF001
        surprise = float(model.predict_proba_one(difference)[False])
        model.learn_one(difference, y=True)
        if len(weights) > self._max_weights:
            kept = {key: weights[key] for key in strongest(weights, self._max_weights)}
            weights.clear()
            weights.update(kept)
        return surprise


@cache
def shared_preferences(learning_rate: float, max_weights: int) -> Preferences:
    """Return the process's one learner with these parameters."""
    return Preferences(learning_rate, max_weights)
