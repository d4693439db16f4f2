"""A reward model for off-policy estimates: logistic regression on the context, what was chosen, and where."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from models.numeric.arrays import Doubles, Int64s

N_FOLDS = 3


def cross_fit(
    contexts: Doubles, actions: Int64s, rewards: Doubles, n_actions: int, seed: int, penalty: float = 1.0
) -> Doubles:
    """Predict the reward of every action in every round, by a model that has not seen the round.

    Each fold is predicted by a ridge logistic regression on the others: logit = intercept + context + action.

    Parameters
    ----------
    contexts : (N, D) of the rounds.
    actions : (N,) chosen, in [0, n_actions).
    rewards : (N,) 0 or 1.
    seed : of the folds.
    penalty : half its product with the squared weights is added to the summed loss; the intercept is free.

    Returns
    -------
    (N, n_actions) probabilities.
    """
    fold_of = np.random.default_rng(seed).permutation(np.arange(len(rewards)) % N_FOLDS)
    predicted = np.empty((len(rewards), n_actions))
    for fold in range(N_FOLDS):
        held_out = fold_of == fold
        chosen = np.eye(n_actions)[actions[~held_out]]
        weights = _fit(np.hstack([contexts[~held_out], chosen]), rewards[~held_out], penalty)
        by_context, by_action = weights[1 : 1 + contexts.shape[1]], weights[1 + contexts.shape[1] :]
        predicted[held_out] = expit(weights[0] + (contexts[held_out] @ by_context)[:, None] + by_action[None, :])
    return predicted


def _fit(features: Doubles, labels: Doubles, penalty: float) -> Doubles:
    """Minimise the ridge logistic loss: (1 + D,) weights, the intercept first."""

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        logits = weights[0] + features @ weights[1:]
        errors = expit(logits) - labels
        gradient = np.concatenate([[errors.sum()], features.T @ errors + penalty * weights[1:]])
        value = (np.logaddexp(0, logits) - labels * logits).sum() + penalty / 2 * weights[1:] @ weights[1:]
        return float(value), gradient

    found = minimize(loss, np.zeros(features.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1_000})
    return np.asarray(found.x)
