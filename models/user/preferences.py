"""What one user prefers among item attributes, learned act by act: the step of River's logistic regression."""

import math

import numpy as np

from models.numeric.arrays import Doubles, Hash32s
from models.numeric.kernels import inline, kernel
from models.user.record import N_COMPARED, States, keep, take

_SURE = 18.0
"""Logits beyond which the loss is taken for its asymptote, as in River."""
_NOTHING_KNOWN = 0.5


@kernel
def learn(
    state: States,  # (1,) written
    item: int,
    at: int,
    weight: float,
    price: float,
    attributes: Hash32s,  # (M,) of the item, the most telling ones first
    negative: Hash32s,  # (N,) of one that was not chosen
    learning_rate: float,
) -> float:
    """Take an action into a user's record, and learn from it that its item is preferred to another one.

    A pairwise logistic regression over attributes (Rendle, Freudenthaler, Gantner, Schmidt-Thieme, UAI 2009, BPR:
    Bayesian personalized ranking from implicit feedback): the user's weights learn that the difference of a preferred
    item and another one is positive. A step of stochastic gradient descent is as large as the action's weight, and
    fades at the habit's half-life. Attributes of both say nothing and are left out. A weight below 0 turns the two
    round. Without a difference nothing is learned.

    It is `river.linear_model.LogisticRegression(optim.SGD(learning_rate), intercept_lr=0)`, bit for bit, in the kernel
    that takes the action in: called through River, an event's step in the profile took 1.8 times as long.

    Parameters
    ----------
    weight : of the action, below 0 for a dislike; not 0.
    price : 0 unknown.
    learning_rate : step of the gradient descent, above 0.

    Returns
    -------
    The surprise: the probability, in [0, 1], that the weights gave to the opposite; 0.5 knows nothing.
    """
    pair, known = np.empty(2 * N_COMPARED, np.uint32), np.empty(2 * N_COMPARED)
    n_better, n_worse = take(state, item, at, weight, price, attributes, negative, pair, known)
    n = n_better + n_worse
    if n == 0:
        return _NOTHING_KNOWN
    surprise = _surprise(known[:n], n_better)
    # Up for the better item's attributes, down for the other's.
    for p in range(n):
        known[p] -= learning_rate * (-surprise * abs(weight) if p < n_better else surprise * abs(weight))
    keep(state, at, pair, n, known)
    return surprise


@inline
def _surprise(weights: Doubles, n_better: int) -> float:
    """Return 1 / (1 + e^z), z being the weights of the better item's attributes less those of the other's."""
    z = 0.0
    for p in range(len(weights)):
        z += weights[p] if p < n_better else -weights[p]
    if z > _SURE:
        return math.exp(-z)
    return 1.0 if z < -_SURE else 1.0 / (math.exp(z) + 1.0)
